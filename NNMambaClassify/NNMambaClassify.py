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
    """What the panel is set to; saved with the volumes."""

    model: str = "brain-scan-check"
    inputVolume0: vtkMRMLScalarVolumeNode
    inputVolume1: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    outputTable: vtkMRMLTableNode
    explain: bool = False
    question: str = ""
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"


class NNMambaClassifyWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        self.lifecycle = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from NNMambaLib.panel.classify import ClassifyTask
        from NNMambaLib.panel.lifecycle import PanelLifecycle
        from NNMambaLib.panel.task_panel import TaskPanel

        widget = slicer.util.loadUI(self.resourcePath("UI/NNMambaClassify.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = NNMambaClassifyLogic()
        task = ClassifyTask(slicer.util.childWidgetVariables(widget))
        self.lifecycle = PanelLifecycle(TaskPanel(task), self.logic.getParameterNode)

    def enter(self):
        self.lifecycle.enter()

    def exit(self):
        self.lifecycle.exit()

    def cleanup(self):
        # A set-up that failed leaves nothing to clean up.
        if self.lifecycle is not None:
            self.lifecycle.cleanup()


class NNMambaClassifyLogic(ScriptedLoadableModuleLogic):
    """Classifies volume nodes."""

    def getParameterNode(self):
        return NNMambaClassifyParameterNode(super().getParameterNode())

    def process(self, volumeNode, model="brain-scan-check", outputTable=None, name=None, device="auto", explain=None):
        """Classify a volume and return the table node with a row for each class of each question.

        Bar plot and explanation are found from the table: see `NNMambaLib.scene.classifications`.

        Args:
            volumeNode: a volume node, or a list with one for each of the model's channels.
            model: name of an installed model, or path of a package.
            outputTable: a table node, whose content is replaced; None adds one.
            name: of the new node; by default after the volume.
            device: see `NNMambaLib.engine.Engine`.
            explain: one of the model's questions, to add a volume that shows which regions speak for its answer.

        Raises:
            NNMambaLib.errors.NNMambaError: with a sentence for the user; the scene is as it was.
        """
        from NNMambaLib import scene
        from NNMambaLib.engine import Engine
        from NNMambaLib.scene import classifications

        reference, volumes = scene.volumes_from_nodes(volumeNode)
        result = Engine(device).classify(volumes, model, explain)
        if outputTable is None:
            return classifications.add_classification(reference.GetScene(), result, reference, name)
        classifications.replace_classification(outputTable, result, reference)
        return outputTable


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
        sizes = [node.GetImageData().GetDimensions() for node in (volumeNode, explanation_node(table))]
        self.assertEqual(*sizes)

    def addSample(self):
        from NNMambaLib import scene
        from NNMambaLib.models.catalogue import sample_volume
        from NNMambaLib.volumes.files import read_volume

        return scene.add_volume(slicer.mrmlScene, read_volume(sample_volume()))

    def tinyPackage(self):
        from NNMambaLib.support.random_package import random_manifest, write_random_package

        manifest = random_manifest("classification", outputs=3, base_width=4, patch=(32, 32, 32), spacing=(8, 8, 8))
        return write_random_package(Path(slicer.app.temporaryPath) / "random-classifier", manifest).path
