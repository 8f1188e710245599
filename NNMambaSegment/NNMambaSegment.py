"""Segmentation with nnMamba: a panel, and a logic for scripts."""

from typing import Annotated

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class NNMambaSegment(ScriptedLoadableModule):
    """The module's entry in Slicer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NNMamba Segment")
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = ["NNMamba"]
        self.parent.contributors = ["The NNMamba maintainers"]
        self.parent.helpText = _(
            "Segments volumes with nnMamba (arXiv 2402.03526). Choose a model and a volume, press Apply. "
            "Models are managed in the module NNMamba. Research use only."
        )
        self.parent.acknowledgementText = _("nnMamba: Gong et al., ISBI 2025. Mamba: Gu and Dao, arXiv 2312.00752.")


@parameterNodeWrapper
class NNMambaSegmentParameterNode:
    """The settings of the panel; saved with the scene."""

    model: str = "brain-structures"
    inputVolume0: vtkMRMLScalarVolumeNode
    inputVolume1: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    probabilities: bool = False
    uncertainty: bool = False
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    precision: Annotated[str, Choice(["float32", "bfloat16"])] = "float32"
    mirror: bool = False
    step: Annotated[float, WithinRange(0.25, 1.0)] = 0.5
    padSmall: bool = False


class NNMambaSegmentWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        # Stays None where the set-up fails.
        self.lifecycle = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from NNMambaLib.panel.lifecycle import PanelLifecycle
        from NNMambaLib.panel.segment import SegmentControls
        from NNMambaLib.panel.task_panel import TaskPanel

        widget = slicer.util.loadUI(self.resourcePath("UI/NNMambaSegment.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = NNMambaSegmentLogic()
        controls = SegmentControls(slicer.util.childWidgetVariables(widget))
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


class NNMambaSegmentLogic(ScriptedLoadableModuleLogic):
    """Segments volume nodes."""

    def getParameterNode(self):
        return NNMambaSegmentParameterNode(super().getParameterNode())

    def process(
        self,
        volumeNode,
        model="brain-structures",
        outputSegmentation=None,
        name=None,
        device="auto",
        mirror=False,
        step=0.5,
        padSmall=False,
        probabilities=False,
        uncertainty=False,
        precision="float32",
        onProgress=None,
        inProcess=False,
    ):
        """Segment a volume and return the segmentation node.

        The engine runs in the worker that the panels use, which keeps models loaded between calls; Slicer's own process
        imports no torch. A call waits for the jobs before it; Ctrl+C cancels it.

        Args:
            volumeNode: a volume node, or a list with one for each of the model's channels.
            model: name of an installed model, or path of a package.
            outputSegmentation: a segmentation node, whose content is replaced; None adds one.
            name: of the new node; by default after the volume.
            device, precision: see `NNMambaLib.engine.Engine`.
            mirror, step, padSmall: see `NNMambaLib.engine.Engine.segment`.
            probabilities, uncertainty: also add these volumes to the scene.
            onProgress: called with a `NNMambaLib.progress.Progress` at each stage's start and after each of its steps.
            inProcess: run the engine in this process instead of the worker.

        Raises:
            NNMambaLib.errors.NNMambaError: with a sentence for the user; the scene is as it was.
        """
        from NNMambaLib import scene
        from NNMambaLib.panel.run_from_script import run_from_script
        from NNMambaLib.worker.job import JobRequest

        options = {
            "mirror": bool(mirror),
            "step": float(step),
            "pad_small": bool(padSmall),
            "probabilities": bool(probabilities),
            "uncertainty": bool(uncertainty),
        }

        def put(result, reference):
            return scene.put_segmentation(result, reference, outputSegmentation, name)[0]

        request = JobRequest("segmentation", model, (), options, device, precision=precision)
        return run_from_script(request, volumeNode, put, onProgress, inProcess)


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
        from NNMambaLib.volumes.files import read_volume

        volumeNode = scene.add_volume(slicer.mrmlScene, read_volume(sample_volume()))
        segmentation = NNMambaSegmentLogic().process(volumeNode).GetSegmentation()
        labels = find_package("brain-structures").manifest.labels
        self.assertEqual(segmentation.GetNumberOfSegments(), len(labels))
