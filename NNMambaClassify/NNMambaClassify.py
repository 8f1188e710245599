"""Classification with nnMamba: a panel, and a logic for scripts."""

from pathlib import Path
from typing import Annotated

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class NNMambaClassify(ScriptedLoadableModule):
    """The module's entry in Slicer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("NNMamba Classify")
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = ["NNMamba"]
        self.parent.contributors = ["The NNMamba maintainers"]
        self.parent.helpText = _(
            "Classifies volumes with nnMamba (arXiv 2402.03526), and shows which regions speak for the answer. "
            "Choose a model and a volume, press Apply. Models are managed in the module NNMamba. Research use only."
        )
        self.parent.acknowledgementText = _(
            "nnMamba: Gong et al., ISBI 2025. Mamba: Gu and Dao, arXiv 2312.00752. "
            "Explanation by occlusion: Zeiler and Fergus, ECCV 2014."
        )


@parameterNodeWrapper
class NNMambaClassifyParameterNode:
    """The settings of the panel; saved with the scene."""

    model: str = "brain-scan-check"
    inputVolume0: vtkMRMLScalarVolumeNode
    inputVolume1: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    outputTable: vtkMRMLTableNode
    explain: bool = False
    question: str = ""
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    precision: Annotated[str, Choice(["float32", "bfloat16"])] = "float32"


class NNMambaClassifyWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        # Stays None where the set-up fails.
        self.lifecycle = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from NNMambaLib.panel.classify import ClassifyControls
        from NNMambaLib.panel.lifecycle import PanelLifecycle
        from NNMambaLib.panel.task_panel import TaskPanel

        widget = slicer.util.loadUI(self.resourcePath("UI/NNMambaClassify.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = NNMambaClassifyLogic()
        controls = ClassifyControls(slicer.util.childWidgetVariables(widget))
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


class NNMambaClassifyLogic(ScriptedLoadableModuleLogic):
    """Classifies volume nodes."""

    def getParameterNode(self):
        return NNMambaClassifyParameterNode(super().getParameterNode())

    def process(
        self,
        volumeNode,
        model="brain-scan-check",
        outputTable=None,
        name=None,
        device="auto",
        explain=None,
        precision="float32",
        onProgress=None,
        inProcess=False,
    ):
        """Classify a volume and return the table node with a row for each class of each question.

        The table refers to its bar plot and its explanation: see `NNMambaLib.scene.classifications`.

        The engine runs in the worker that the panels use, which keeps models loaded between calls; Slicer's own process
        imports no torch. A call waits for the jobs before it; Ctrl+C cancels it.

        Args:
            volumeNode: a volume node, or a list with one for each of the model's channels.
            model: name of an installed model, or path of a package.
            outputTable: a table node, whose content is replaced; None adds one.
            name: of the new node; by default after the volume.
            device, precision: see `NNMambaLib.engine.Engine`.
            explain: one of the model's questions, to add a volume that shows which regions speak for its answer.
            onProgress: called with a `NNMambaLib.progress.Progress` at each stage's start and after each of its steps.
            inProcess: run the engine in this process instead of the worker.

        Raises:
            NNMambaLib.errors.NNMambaError: with a sentence for the user; the scene is as it was.
        """
        from NNMambaLib.panel.run_from_script import run_from_script
        from NNMambaLib.scene import classifications
        from NNMambaLib.worker.job import JobRequest

        def put(result, reference):
            return classifications.put_classification(result, reference, outputTable, name)

        options = {} if explain is None else {"explain": explain}
        request = JobRequest("classification", model, (), options, device, precision=precision)
        return run_from_script(request, volumeNode, put, onProgress, inProcess)


class NNMambaClassifyTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, from its self tests."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_every_class_has_a_row()
        self.setUp()
        self.test_answer_is_explained_on_the_grid_of_the_volume()

    def test_every_class_has_a_row(self):
        table = NNMambaClassifyLogic().process(self.addSample(), self.tinyPackage())
        self.assertEqual(table.GetNumberOfRows(), 3)

    def test_answer_is_explained_on_the_grid_of_the_volume(self):
        from NNMambaLib.scene.classifications import explanation_node

        volumeNode = self.addSample()
        table = NNMambaClassifyLogic().process(volumeNode, self.tinyPackage(), explain="random")
        explanation = explanation_node(table)
        assert explanation is not None
        self.assertEqual(explanation.GetImageData().GetDimensions(), volumeNode.GetImageData().GetDimensions())

    def addSample(self):
        from NNMambaLib import scene
        from NNMambaLib.models.catalogue import sample_volume
        from NNMambaLib.volumes.files import read_volume

        return scene.add_volume(slicer.mrmlScene, read_volume(sample_volume()))

    def tinyPackage(self):
        from NNMambaLib.support.random_package import random_manifest, write_random_package

        manifest = random_manifest("classification", outputs=3, base_width=4, patch=(32, 32, 32), spacing=(8, 8, 8))
        return str(write_random_package(Path(slicer.app.temporaryPath) / "random-classifier", manifest).path)
