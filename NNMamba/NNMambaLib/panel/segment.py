"""What the panel NNMamba Segment adds to `TaskPanel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from NNMambaLib import scene as nnmamba_scene
from NNMambaLib.models.manifest import Manifest
from NNMambaLib.panel.task_panel import Task
from NNMambaLib.results import SegmentationResult
from NNMambaLib.volumes.volume import Volume


class SegmentTask(Task):
    """Options, output and result of a segmentation; see `NNMambaLib.panel.task_panel.Task`.

    Args:
        ui: ``outputSelector``, ``probabilitiesCheckBox``, ``uncertaintyCheckBox``, ``restoreButton``,
            ``mirrorCheckBox``, ``stepSlider``, ``padSmallCheckBox``, ``volumesTable``, ``show3DButton``, and those of
            `TaskPanel`.
    """

    name = "segmentation"

    def __init__(self, ui):
        super().__init__(ui)
        # Of each segmentation node, by its ID, what it held before the last run.
        self._before: dict[str, nnmamba_scene.SegmentationContent] = {}
        ui.restoreButton.connect("clicked(bool)", self._restore)
        ui.outputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._output_changed)

    def bind(self, parameters, manifest: Manifest | None) -> None:
        """Forget what a closed scene held: the next scene's nodes may have the same IDs."""
        if parameters is None:
            self._before.clear()

    def options(self) -> dict[str, Any]:
        return {
            "mirror": self.ui.mirrorCheckBox.checked,
            "step": self.ui.stepSlider.value,
            "pad_small": self.ui.padSmallCheckBox.checked,
            "probabilities": self.ui.probabilitiesCheckBox.checked,
            "uncertainty": self.ui.uncertaintyCheckBox.checked,
        }

    def show(
        self,
        result: SegmentationResult,
        nodes: Sequence[slicer.vtkMRMLVolumeNode],
        output: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Put the segmentation into a node or a new one, and its extra volumes beside it."""
        reference = nodes[0]
        if output is None:
            output = nnmamba_scene.add_segmentation(slicer.mrmlScene, result, reference)
        else:
            self._before[output.GetID()] = nnmamba_scene.replace_segmentation(output, result, reference)
        for volume in _extra_volumes(result, reference.GetName()):
            nnmamba_scene.describe_node(nnmamba_scene.add_volume(slicer.mrmlScene, volume), result.provenance)
        self._list_volumes(result)
        self.ui.outputSelector.setCurrentNode(output)
        self._output_changed(output)

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


def _extra_volumes(result: SegmentationResult, name: str) -> list[Volume]:
    volumes = []
    if result.uncertainty is not None:
        volumes.append(
            Volume(result.uncertainty.array, result.uncertainty.matrix, _("{name} uncertainty").format(name=name))
        )
    if result.probabilities is not None:
        for label in result.label_definitions:
            array = result.probabilities.array[[label.value]].astype(np.float32)
            title = _("{name} probability of {label}").format(name=name, label=label.name)
            volumes.append(Volume(array, result.probabilities.matrix, title))
    return volumes
