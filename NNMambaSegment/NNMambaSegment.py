"""Segmentation with nnMamba, for scripts in Slicer."""

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


class NNMambaSegment(ScriptedLoadableModule):
    """The module's entry in Slicer. It has no panel yet: its logic serves scripts."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NNMamba Segment")
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = ["NNMamba"]
        self.parent.contributors = ["The NNMamba maintainers"]
        self.parent.helpText = _("Segments volumes with nnMamba (arXiv 2402.03526). Research use only.")
        self.parent.acknowledgementText = _("nnMamba: Gong et al., ISBI 2025. Mamba: Gu and Dao, arXiv 2312.00752.")


class NNMambaSegmentLogic(ScriptedLoadableModuleLogic):
    """Segments volume nodes."""

    def process(self, volumeNodes, model="brain-structures", name=None, device="auto", mirror=False, step=0.5):
        """Segment a volume and return a new segmentation node.

        Args:
            volumeNodes: a volume node, or a list with one for each of the model's channels.
            model: name of an installed model, or path of a package.
            name: of the new node; by default after the volume.
            device, mirror, step: see `NNMambaLib.engine.Engine.segment`.

        Raises:
            NNMambaLib.errors.NNMambaError: with a sentence for the user; the scene is as it was.
        """
        from NNMambaLib import scene
        from NNMambaLib.engine import Engine

        reference, volumes = scene.volumes_from_nodes(volumeNodes)
        result = Engine(device).segment(volumes, model, mirror=mirror, step=step)
        return scene.add_segmentation(reference.GetScene(), result, reference, name)


class NNMambaSegmentTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, from its self tests."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_sample_volume_is_segmented()

    def test_sample_volume_is_segmented(self):
        from NNMambaLib import scene
        from NNMambaLib.models.catalogue import find_package, sample_volume
        from NNMambaLib.volume_io import read_volume

        volumeNode = scene.add_volume(slicer.mrmlScene, read_volume(sample_volume()))
        segmentation = NNMambaSegmentLogic().process(volumeNode).GetSegmentation()
        labels = find_package("brain-structures").manifest.labels
        self.assertEqual(segmentation.GetNumberOfSegments(), len(labels))
