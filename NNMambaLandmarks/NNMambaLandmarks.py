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
    """The settings of the panel; saved with the scene."""

    model: str = "brain-landmarks"
    inputVolume0: vtkMRMLScalarVolumeNode
    inputVolume1: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    outputLandmarks: vtkMRMLMarkupsFiducialNode
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    precision: Annotated[str, Choice(["float32", "bfloat16"])] = "float32"
    step: Annotated[float, WithinRange(0.25, 1.0)] = 0.5
    lowConfidence: Annotated[float, WithinRange(0.0, 1.0)] = 0.8
    padSmall: bool = False


class NNMambaLandmarksWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        # Stays None where the set-up fails.
        self.lifecycle = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from NNMambaLib.panel.landmarks import LandmarksControls
        from NNMambaLib.panel.lifecycle import PanelLifecycle
        from NNMambaLib.panel.task_panel import TaskPanel

        widget = slicer.util.loadUI(self.resourcePath("UI/NNMambaLandmarks.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = NNMambaLandmarksLogic()
        controls = LandmarksControls(slicer.util.childWidgetVariables(widget))
        self.lifecycle = PanelLifecycle(TaskPanel(controls), self.logic.getParameterNode)

    def enter(self):
        if self.lifecycle is not None:
            self.lifecycle.enter()

    def exit(self):
        if self.lifecycle is not None:
            self.lifecycle.exit()

    def cleanup(self):
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
        precision="float32",
        onProgress=None,
        inProcess=False,
    ):
        """Find a model's landmarks in a volume and return the Markups fiducial node.

        The engine runs in the worker that the panels use, which keeps models loaded between calls; Slicer's own process
        imports no torch. A call waits for the jobs before it; Ctrl+C cancels it.

        Args:
            volumeNode: a volume node, or a list with one for each of the model's channels.
            model: name of an installed model, or path of a package.
            outputLandmarks: a fiducial node, whose points are replaced; None adds one.
            name: of the new node; by default after the volume.
            device, precision: see `NNMambaLib.engine.Engine`.
            step, padSmall: see `NNMambaLib.engine.Engine.detect_landmarks`.
            onProgress: called with a `NNMambaLib.progress.Progress` at each stage's start and after each of its steps.
            inProcess: run the engine in this process instead of the worker.

        Raises:
            NNMambaLib.errors.NNMambaError: with a sentence for the user; the scene is as it was.
        """
        from NNMambaLib import scene
        from NNMambaLib.panel.run_from_script import run_from_script
        from NNMambaLib.worker.job import JobRequest

        def put(result, reference):
            return scene.put_landmarks(result, reference, outputLandmarks, name)

        options = {"step": float(step), "pad_small": bool(padSmall)}
        request = JobRequest("landmarks", model, (), options, device, precision=precision)
        return run_from_script(request, volumeNode, put, onProgress, inProcess)


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
        markups = NNMambaLandmarksLogic().process(volumeNode, str(package.path))
        self.assertEqual(markups.GetNumberOfControlPoints(), 3)
