"""Anatomical landmarks with nnMamba: a panel, and a logic for scripts."""

from pathlib import Path
from typing import Annotated

import slicer
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class NNMambaLandmarks(ScriptedLoadableModule):
    """The module's entry in Slicer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NNMamba Landmarks")
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = ["NNMamba"]
        self.parent.contributors = ["The NNMamba maintainers"]
        self.parent.helpText = _(
            "Finds anatomical landmarks with nnMamba (arXiv 2402.03526). Choose a model and a volume, press Apply, "
            "and review each point. Models are managed in the module NNMamba. Research use only."
        )
        self.parent.acknowledgementText = _("nnMamba: Gong et al., ISBI 2025. Mamba: Gu and Dao, arXiv 2312.00752.")


@parameterNodeWrapper
class NNMambaLandmarksParameterNode:
    """What the panel is set to; saved with the volumes."""

    model: str = "brain-landmarks"
    inputVolume0: vtkMRMLScalarVolumeNode
    inputVolume1: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    outputLandmarks: vtkMRMLMarkupsFiducialNode
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    step: Annotated[float, WithinRange(0.25, 1.0)] = 0.5
    lowConfidence: Annotated[float, WithinRange(0.0, 1.0)] = 0.8
    padSmall: bool = False


class NNMambaLandmarksWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        self.lifecycle = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from NNMambaLib.panel.landmarks import LandmarksTask
        from NNMambaLib.panel.lifecycle import PanelLifecycle
        from NNMambaLib.panel.task_panel import TaskPanel

        widget = slicer.util.loadUI(self.resourcePath("UI/NNMambaLandmarks.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = NNMambaLandmarksLogic()
        task = LandmarksTask(slicer.util.childWidgetVariables(widget))
        self.lifecycle = PanelLifecycle(TaskPanel(task), self.logic.getParameterNode)

    def enter(self):
        self.lifecycle.enter()

    def exit(self):
        self.lifecycle.exit()

    def cleanup(self):
        # A set-up that failed leaves nothing to clean up.
        if self.lifecycle is not None:
            self.lifecycle.cleanup()


class NNMambaLandmarksLogic(ScriptedLoadableModuleLogic):
    """Finds landmarks in volume nodes."""

    def getParameterNode(self):
        return NNMambaLandmarksParameterNode(super().getParameterNode())

    def process(
        self,
        volumeNode,
        model="brain-landmarks",
        outputLandmarks=None,
        name=None,
        device="auto",
        step=0.5,
        padSmall=False,
    ):
        """Find a model's landmarks in a volume and return the Markups fiducial node.

        Args:
            volumeNode: a volume node, or a list with one for each of the model's channels.
            model: name of an installed model, or path of a package.
            outputLandmarks: a fiducial node, whose points are replaced; None adds one.
            name: of the new node; by default after the volume.
            device, step, padSmall: see `NNMambaLib.engine.Engine.detect_landmarks`.

        Raises:
            NNMambaLib.errors.NNMambaError: with a sentence for the user; the scene is as it was.
        """
        from NNMambaLib import scene
        from NNMambaLib.engine import Engine

        reference, volumes = scene.volumes_from_nodes(volumeNode)
        result = Engine(device).detect_landmarks(volumes, model, step=step, pad_small=padSmall)
        if outputLandmarks is None:
            return scene.add_landmarks(reference.GetScene(), result, reference, name)
        scene.replace_landmarks(outputLandmarks, result, reference)
        return outputLandmarks


class NNMambaLandmarksTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, from its self tests."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_every_landmark_has_a_control_point()

    def test_every_landmark_has_a_control_point(self):
        from NNMambaLib import scene
        from NNMambaLib.models.catalogue import sample_volume
        from NNMambaLib.support.random_package import random_manifest, write_random_package
        from NNMambaLib.volumes.files import read_volume

        volumeNode = scene.add_volume(slicer.mrmlScene, read_volume(sample_volume()))
        manifest = random_manifest("landmarks", outputs=3, base_width=4, spacing=(4.0, 4.0, 4.0))
        package = write_random_package(Path(slicer.app.temporaryPath) / "random-landmarks", manifest)
        markups = NNMambaLandmarksLogic().process(volumeNode, package.path)
        self.assertEqual(markups.GetNumberOfControlPoints(), 3)
