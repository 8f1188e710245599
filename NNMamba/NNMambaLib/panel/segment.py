"""What the panel NNMamba Segment adds to `TaskPanel`: options, the previous content, the volumes of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
import slicer

from NNMambaLib import scene as nnmamba_scene
from NNMambaLib.models.manifest import Manifest
from NNMambaLib.panel.task_panel import TaskControls
from NNMambaLib.results import SegmentationResult


class SegmentControls(TaskControls):
    """Options, output and result of a segmentation; see `NNMambaLib.panel.task_panel.TaskControls`.

    Args:
        ui: ``outputSelector``, ``restoreButton``, ``volumesTable``, ``show3DButton``, and those of `TaskPanel`.
    """

    task = "segmentation"

    def __init__(self, ui):
        super().__init__(ui)
        # What each segmentation node, by its ID, held before the last run.
        self._before: dict[str, nnmamba_scene.SegmentationContent] = {}
        ui.restoreButton.connect("clicked(bool)", self._restore)
        ui.outputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._output_changed)

    def bind(self, parameters, manifest: Manifest | None) -> None:
        """Forget the content of a closed scene: the next scene's nodes may have the same IDs."""
        if parameters is None:
            self._before.clear()

    def options(self, parameters) -> dict[str, Any]:
        return {
            "mirror": parameters.mirror,
            "step": parameters.step,
            "pad_small": parameters.padSmall,
            "probabilities": parameters.probabilities,
            "uncertainty": parameters.uncertainty,
        }

    def show(
        self,
        result: SegmentationResult,
        nodes: Sequence[slicer.vtkMRMLVolumeNode],
        output: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Put the segmentation and its extra volumes into the scene, and list the volumes of its labels."""
        node, before = nnmamba_scene.put_segmentation(result, nodes[0], output)
        if before is not None:
            self._before[node.GetID()] = before
        self._list_volumes(result)
        self.ui.outputSelector.setCurrentNode(node)
        self._output_changed(node)

    def _list_volumes(self, result: SegmentationResult) -> None:
        table = self.ui.volumesTable
        table.setRowCount(len(result.volumes_ml))
        for row, (name, volume) in enumerate(result.volumes_ml.items()):
            number = qt.QTableWidgetItem(f"{volume:.1f}")
            number.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(row, 0, qt.QTableWidgetItem(name))
            table.setItem(row, 1, number)
        table.resizeColumnToContents(0)

    def _output_changed(self, node) -> None:
        self.ui.restoreButton.enabled = node is not None and node.GetID() in self._before
        self.ui.show3DButton.enabled = node is not None
        self.ui.show3DButton.setSegmentationNode(node)

    def _restore(self, checked: bool = False) -> None:
        node = self.ui.outputSelector.currentNode()
        nnmamba_scene.restore_segmentation(node, self._before.pop(node.GetID()))
        self.ui.volumesTable.setRowCount(0)
        self._output_changed(node)
