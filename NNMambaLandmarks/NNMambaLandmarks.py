"""Anatomical landmarks with nnMamba, for scripts in Slicer."""

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


class NNMambaLandmarks(ScriptedLoadableModule):
    """The module's entry in Slicer. It has no panel yet: its logic serves scripts."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NNMamba Landmarks")
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = ["NNMamba"]
        self.parent.contributors = ["The NNMamba maintainers"]
        self.parent.helpText = _("Finds anatomical landmarks with nnMamba (arXiv 2402.03526). Research use only.")
        self.parent.acknowledgementText = _("nnMamba: Gong et al., ISBI 2025. Mamba: Gu and Dao, arXiv 2312.00752.")


class NNMambaLandmarksLogic(ScriptedLoadableModuleLogic):
    """Finds landmarks in volume nodes."""

    def process(self, volumeNodes, model, name=None, device="auto", step=0.5):
        """Find a model's landmarks in a volume and return a new Markups fiducial node.

        Args:
            volumeNodes: a volume node, or a list with one for each of the model's channels.
            model: name of an installed model, or path of a package.
            name: of the new node; by default after the volume.
            device, step: see `NNMambaLib.engine.Engine.detect_landmarks`.

        Raises:
            NNMambaLib.errors.NNMambaError: with a sentence for the user; the scene is as it was.
        """
        from NNMambaLib import scene
        from NNMambaLib.engine import Engine

        reference, volumes = scene.volumes_from_nodes(volumeNodes)
        result = Engine(device).detect_landmarks(volumes, model, step=step)
        return scene.add_landmarks(reference.GetScene(), result, reference, name)


class NNMambaLandmarksTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, from its self tests."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_every_landmark_has_a_control_point()

    def test_every_landmark_has_a_control_point(self):
        from pathlib import Path

        from NNMambaLib import scene
        from NNMambaLib.models.catalogue import sample_volume
        from NNMambaLib.models.random_package import random_manifest, write_random_package
        from NNMambaLib.volume_io import read_volume

        volumeNode = scene.add_volume(slicer.mrmlScene, read_volume(sample_volume()))
        manifest = random_manifest("landmarks", outputs=3, base_width=4, spacing=(4.0, 4.0, 4.0))
        package = write_random_package(Path(slicer.app.temporaryPath) / "random-landmarks", manifest)
        markups = NNMambaLandmarksLogic().process(volumeNode, package.path)
        self.assertEqual(markups.GetNumberOfControlPoints(), 3)
