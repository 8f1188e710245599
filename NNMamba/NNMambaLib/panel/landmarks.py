"""What the panel NNMamba Landmarks adds to `TaskPanel`: the output list and its review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from NNMambaLib import scene as nnmamba_scene
from NNMambaLib.errors import NNMambaError
from NNMambaLib.panel.task_panel import TaskControls
from NNMambaLib.results import LandmarksResult
from NNMambaLib.scene import landmark_review
from NNMambaLib.scene.landmark_review import ReviewedLandmark, ReviewState

_MARKS = {
    ReviewState.PREDICTED: "\N{BULLET}",
    ReviewState.NOT_FOUND: "\N{EN DASH}",
    ReviewState.MOVED: "\N{RIGHTWARDS ARROW}",
    ReviewState.PLACED: "+",
    ReviewState.REMOVED: "\N{MULTIPLICATION SIGN}",
    ReviewState.ACCEPTED: "\N{CHECK MARK}",
}
_LOW_MARK = "\N{WARNING SIGN}"


class LandmarksControls(TaskControls, VTKObservationMixin):
    """Options, output and review of landmarks; see `NNMambaLib.panel.task_panel.TaskControls`.

    Args:
        ui: ``outputSelector``, ``confidenceSlider``, ``reviewTable``, ``acceptButton``, ``resetButton``,
            ``exportButton``, and those of `TaskPanel`.
    """

    task = "landmarks"

    def __init__(self, ui):
        TaskControls.__init__(self, ui)
        VTKObservationMixin.__init__(self)
        self._node = None
        self._landmarks: list[ReviewedLandmark] = []
        ui.outputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._output_changed)
        ui.reviewTable.connect("itemSelectionChanged()", self._row_selected)
        ui.confidenceSlider.connect("valueChanged(double)", self._list)
        ui.acceptButton.connect("clicked(bool)", self._accept)
        ui.resetButton.connect("clicked(bool)", self._reset)
        ui.exportButton.connect("clicked(bool)", self._export)

    def options(self, parameters) -> dict[str, Any]:
        return {"step": parameters.step, "pad_small": parameters.padSmall}

    def may_replace(self, output: slicer.vtkMRMLNode | None) -> bool:
        """Ask before a reviewed list is replaced."""
        if output is None or not landmark_review.is_reviewable(output):
            return True
        untouched = (ReviewState.PREDICTED, ReviewState.NOT_FOUND)
        if all(landmark.state in untouched for landmark in landmark_review.reviewed_landmarks(output)):
            return True
        return slicer.util.confirmOkCancelDisplay(
            _("The landmarks of {name} were reviewed. Replace them?").format(name=output.GetName()),
            windowTitle=_("NNMamba"),
        )

    def show(
        self,
        result: LandmarksResult,
        nodes: Sequence[slicer.vtkMRMLVolumeNode],
        output: slicer.vtkMRMLMarkupsFiducialNode | None,
    ) -> None:
        """Put the landmarks into a list, ready for review."""
        output = nnmamba_scene.put_landmarks(result, nodes[0], output)
        self.ui.outputSelector.setCurrentNode(output)
        self._output_changed(output)

    def close(self) -> None:
        """Release the list."""
        self.removeObservers()

    def _output_changed(self, node) -> None:
        self.removeObservers()
        self._node = node if landmark_review.is_reviewable(node) else None
        if self._node is not None:
            for event in ("PointModified", "PointAdded", "PointRemoved", "PointPositionUndefined"):
                self.addObserver(self._node, getattr(self._node, f"{event}Event"), self._list)
            # Predicted positions and accepted landmarks are kept in attributes.
            self.addObserver(self._node, vtk.vtkCommand.ModifiedEvent, self._list)
        self._list()

    def _list(self, caller=None, event=None) -> None:
        """Fill the table and keep the selection."""
        table, low = self.ui.reviewTable, self.ui.confidenceSlider.value
        row, was_blocked = table.currentRow(), table.blockSignals(True)
        self._landmarks = [] if self._node is None else landmark_review.reviewed_landmarks(self._node)
        table.setRowCount(len(self._landmarks))
        for number, landmark in enumerate(self._landmarks):
            for column, text in enumerate((landmark.name, f"{landmark.confidence:.2f}", describe(landmark, low))):
                table.setItem(number, column, qt.QTableWidgetItem(text))
            table.item(number, 0).setToolTip(self._description(landmark.name))
        table.resizeColumnToContents(0)
        if 0 <= row < len(self._landmarks):
            table.selectRow(row)
        table.blockSignals(was_blocked)
        self._update_buttons()

    def _description(self, name: str) -> str:
        assert self._node is not None
        index = landmark_review.control_point(self._node, name)
        return self._node.GetNthControlPointDescription(index) if index >= 0 else ""

    def _selected(self) -> ReviewedLandmark | None:
        row = self.ui.reviewTable.currentRow()
        return self._landmarks[row] if 0 <= row < len(self._landmarks) else None

    def _row_selected(self) -> None:
        landmark = self._selected()
        if landmark is not None and landmark.position is not None:
            slicer.vtkMRMLSliceNode.JumpAllSlices(
                slicer.mrmlScene, *landmark.position, slicer.vtkMRMLSliceNode.CenteredJumpSlice
            )
        self._update_buttons()

    def _update_buttons(self) -> None:
        landmark = self._selected()
        done = (ReviewState.ACCEPTED, ReviewState.REMOVED)
        self.ui.acceptButton.enabled = landmark is not None and landmark.state not in done
        unchanged = (ReviewState.PREDICTED, ReviewState.NOT_FOUND)
        self.ui.resetButton.enabled = landmark is not None and landmark.state not in unchanged
        self.ui.exportButton.enabled = self._node is not None

    def _accept(self, checked: bool = False) -> None:
        landmark = self._selected()
        if landmark is not None:
            landmark_review.accept(self._node, landmark.name)
            self._list()

    def _reset(self, checked: bool = False) -> None:
        landmark = self._selected()
        if landmark is not None:
            landmark_review.reset(self._node, landmark.name)
            self._list()

    def _export(self, checked: bool = False) -> None:
        if self._node is None:
            return
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(),
            _("Save landmarks"),
            f"{self._node.GetName()}.csv",
            _("Table (*.csv);;Markups (*.mrk.json)"),
        )
        if not path:
            return
        if not path.lower().endswith((".csv", ".mrk.json")):
            path += ".csv"
        try:
            if path.lower().endswith(".mrk.json"):
                slicer.util.saveNode(self._node, path)
            else:
                landmark_review.write_review(self._node, path)
        except (NNMambaError, RuntimeError) as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("NNMamba"))


def describe(landmark: ReviewedLandmark, low: float) -> str:
    """Return a landmark's state as a sign and in words."""
    doubtful = landmark.state is ReviewState.PREDICTED and landmark.confidence < low
    if doubtful:
        return f"{_LOW_MARK} {_('low confidence')}"
    return f"{_MARKS[landmark.state]} {_(landmark.state.value)}"
