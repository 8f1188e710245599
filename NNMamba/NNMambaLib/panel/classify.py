"""What the panel NNMamba Classify adds to `TaskPanel`: the answers as table and bars, their explanation, the report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from NNMambaLib import scene as nnmamba_scene
from NNMambaLib.errors import NNMambaError
from NNMambaLib.export.classification_report import write_report
from NNMambaLib.export.explanation_picture import color_limit, strongest
from NNMambaLib.models.manifest import Manifest
from NNMambaLib.panel.task_panel import TaskControls
from NNMambaLib.results import ClassificationResult, Explanation
from NNMambaLib.scene import classifications

_PREDICTED_MARK = "\N{CHECK MARK}"
# Opacity of the explanation over the volume; where it is 0 it is transparent anyway.
_EXPLANATION_OPACITY = 0.6
_NOT_IN_FILE_NAMES = r'[\\/:*?"<>|\x00-\x1f]'


class ClassifyControls(TaskControls):
    """Options, output and result of a classification; see `NNMambaLib.panel.task_panel.TaskControls`.

    The panel shows the table that is chosen as output, also one of a loaded scene.

    Args:
        ui: ``outputSelector``, ``explainCheckBox``, ``questionComboBox``, ``answersTable``, ``plotView``,
            ``explanationLabel``, ``reportButton``, and those of `TaskPanel`.
    """

    task = "classification"

    def __init__(self, ui):
        super().__init__(ui)
        self._parameters = None
        self._view_node = None
        ui.outputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._output_changed)
        ui.explainCheckBox.connect("toggled(bool)", self._explain_toggled)
        ui.questionComboBox.connect("currentIndexChanged(int)", self._question_chosen)
        ui.answersTable.connect("itemSelectionChanged()", self._row_selected)
        ui.reportButton.connect("clicked(bool)", self._save_report)
        ui.answersTable.horizontalHeader().stretchLastSection = True
        self._explain_toggled()

    def bind(self, parameters, manifest: Manifest | None) -> None:
        """List the questions of the model, and choose that of the parameter node; see `TaskControls.bind`."""
        self._parameters = parameters
        if parameters is None:
            self._show_chart(None)
            return
        box = self.ui.questionComboBox
        was_blocked = box.blockSignals(True)
        box.clear()
        box.addItems([target.name for target in manifest.targets] if manifest is not None else [])
        box.blockSignals(was_blocked)
        self.parameters_changed()
        self._output_changed(self.ui.outputSelector.currentNode())

    def parameters_changed(self) -> None:
        """Choose the question of the parameter node; one that the model does not answer becomes its first."""
        if self._parameters is None:
            return
        box = self.ui.questionComboBox
        was_blocked = box.blockSignals(True)
        box.currentIndex = max(0, box.findText(self._parameters.question))
        box.blockSignals(was_blocked)
        if box.count > 0:
            self._parameters.question = box.currentText

    def options(self, parameters) -> dict[str, Any]:
        return {"explain": parameters.question} if parameters.explain else {}

    def show(
        self,
        result: ClassificationResult,
        nodes: Sequence[slicer.vtkMRMLVolumeNode],
        output: slicer.vtkMRMLTableNode | None,
    ) -> None:
        """Put the answers into a table, and show the explanation over the volume in slice views."""
        reference = nodes[0]
        output = classifications.put_classification(result, reference, output)
        self.ui.outputSelector.setCurrentNode(output)
        self._output_changed(output)
        explanation = classifications.explanation_node(output)
        if explanation is not None:
            slicer.util.setSliceViewerLayers(
                background=reference,
                foreground=explanation,
                foregroundOpacity=_EXPLANATION_OPACITY,
                # Views that already show the volume stay where the user put them.
                fit=not _is_shown(reference),
            )

    # --- options --------------------------------------------------------------------------------------------------

    def _explain_toggled(self, checked: bool = False) -> None:
        self.ui.questionComboBox.enabled = self.ui.explainCheckBox.checked

    def _question_chosen(self, index: int) -> None:
        if self._parameters is not None:
            self._parameters.question = self.ui.questionComboBox.currentText

    # --- result ---------------------------------------------------------------------------------------------------

    def _output_changed(self, node) -> None:
        result = classifications.classification_of(node)
        table = self.ui.answersTable
        was_blocked = table.blockSignals(True)
        table.clearContents()
        predictions = () if result is None else result.predictions
        answers = [(prediction, name) for prediction in predictions for name in prediction.probabilities]
        table.setRowCount(len(answers))
        for row, (prediction, name) in enumerate(answers):
            predicted = name == prediction.predicted
            marked = f"{_PREDICTED_MARK} {name}" if predicted else name
            number = f"{100 * prediction.probabilities[name]:.1f} %"
            for column, text in enumerate((prediction.target, marked, number)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_("Predicted") if predicted else "")
                table.setItem(row, column, item)
            item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        table.resizeColumnToContents(0)
        table.resizeColumnToContents(1)
        table.blockSignals(was_blocked)
        self._show_chart(None if result is None else classifications.chart_node(node))
        self.ui.explanationLabel.text = "" if result is None else _describe_explanation(result.explanation)
        self.ui.explanationLabel.visible = bool(self.ui.explanationLabel.text)
        self.ui.reportButton.enabled = result is not None

    def _show_chart(self, chart: slicer.vtkMRMLPlotChartNode | None) -> None:
        """Show a chart in the panel, in a view that the layout of the application does not know."""
        if self._view_node is not None and (chart is None or self._view_node.GetScene() is None):
            self.ui.plotView.setMRMLPlotViewNode(None)
            slicer.mrmlScene.RemoveNode(self._view_node)
            self._view_node = None
        # Without a parameter node there is nothing to show yet: `bind` follows.
        if chart is None or self._parameters is None:
            return
        if self._view_node is None:
            self._view_node = slicer.vtkMRMLPlotViewNode()
            self._view_node.SetName("NNMamba Classify")
            self._view_node.SetHideFromEditors(True)
            self._view_node.SetSaveWithScene(False)
            # A parent keeps the layout manager from adding the view to the layout.
            self._view_node.SetAndObserveParentLayoutNodeID(self._parameters.parameterNode.GetID())
            self._view_node.SetDoPropagatePlotChartSelection(False)
            slicer.mrmlScene.AddNode(self._view_node)
            self.ui.plotView.setMRMLPlotViewNode(self._view_node)
        self._view_node.SetPlotChartNodeID(chart.GetID())

    def _row_selected(self) -> None:
        item = self.ui.answersTable.item(self.ui.answersTable.currentRow(), 0)
        if item is not None:
            classifications.plot_question(self.ui.outputSelector.currentNode(), item.text())

    # --- report ---------------------------------------------------------------------------------------------------

    def _save_report(self, checked: bool = False) -> None:
        node = self.ui.outputSelector.currentNode()
        result = classifications.classification_of(node)
        if result is None:
            return
        volume_node = classifications.input_node(node)
        if volume_node is None:
            self._tell(_("The volume of this result is not in the scene any more: apply the model again."))
            return
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(),
            _("Save report"),
            re.sub(_NOT_IN_FILE_NAMES, "_", f"{node.GetName()}.html"),
            _("Page (*.html)"),
        )
        if not path:
            return
        if not path.lower().endswith((".html", ".htm")):
            # The dialog checked the name without the ending.
            path += ".html"
            if Path(path).exists() and not slicer.util.confirmYesNoDisplay(
                _("{path} exists already. Replace it?").format(path=path), windowTitle=_("NNMamba")
            ):
                return
        try:
            volume = nnmamba_scene.volume_from_node(volume_node, check=False)
            write_report(path, result, volume)
        except NNMambaError as error:
            self._tell(str(error))

    def _tell(self, message: str) -> None:
        slicer.util.errorDisplay(message, windowTitle=_("NNMamba"))


def _describe_explanation(explanation: Explanation | None) -> str:
    if explanation is None:
        return ""
    if strongest(explanation) is None:
        return _("{question}: no region matters by itself.").format(question=explanation.target)
    return _(
        "{question}: orange regions speak for {answer}, blue ones against it. Full colour: hiding the region changes "
        "the probability by {limit:.3f}."
    ).format(question=explanation.target, answer=explanation.predicted, limit=color_limit(explanation))


def _is_shown(volume_node: slicer.vtkMRMLVolumeNode) -> bool:
    layers = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return any(layer.GetBackgroundVolumeID() == volume_node.GetID() for layer in layers)
