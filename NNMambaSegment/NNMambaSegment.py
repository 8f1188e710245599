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
    """What the panel is set to; saved with the volumes."""

    model: str = "brain-structures"
    inputVolume0: vtkMRMLScalarVolumeNode
    inputVolume1: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    probabilities: bool = False
    uncertainty: bool = False
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    mirror: bool = False
    step: Annotated[float, WithinRange(0.25, 1.0)] = 0.5
    padSmall: bool = False


class NNMambaSegmentWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        self.lifecycle = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from NNMambaLib.panel.lifecycle import PanelLifecycle
        from NNMambaLib.panel.segment import SegmentTask
        from NNMambaLib.panel.task_panel import TaskPanel

        widget = slicer.util.loadUI(self.resourcePath("UI/NNMambaSegment.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = NNMambaSegmentLogic()
        task = SegmentTask(slicer.util.childWidgetVariables(widget))
        self.lifecycle = PanelLifecycle(TaskPanel(task), self.logic.getParameterNode)

    def enter(self):
        self.lifecycle.enter()

    def exit(self):
        self.lifecycle.exit()

    def cleanup(self):
        # A set-up that failed leaves nothing to clean up.
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
    ):
        """Segment a volume and return the segmentation node.

        Args:
            volumeNode: a volume node, or a list with one for each of the model's channels.
            model: name of an installed model, or path of a package.
            outputSegmentation: a segmentation node, whose content is replaced; None adds one.
            name: of the new node; by default after the volume.
            device, mirror, step, padSmall: see `NNMambaLib.engine.Engine.segment`.

        Raises:
            NNMambaLib.errors.NNMambaError: with a sentence for the user; the scene is as it was.
        """
        from NNMambaLib import scene
        from NNMambaLib.engine import Engine

        reference, volumes = scene.volumes_from_nodes(volumeNode)
        result = Engine(device).segment(volumes, model, mirror=mirror, step=step, pad_small=padSmall)
        if outputSegmentation is None:
            return scene.add_segmentation(reference.GetScene(), result, reference, name)
        scene.replace_segmentation(outputSegmentation, result, reference)
        return outputSegmentation


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
