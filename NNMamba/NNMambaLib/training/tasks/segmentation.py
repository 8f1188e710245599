"""Training a segmentation on the raw data folder of nnU-Net v2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.segmentation import dice
from NNMambaLib.inference.sliding_window import Tiling, sliding_window
from NNMambaLib.inference.tile_predictor import softmax, tile_predictor
from NNMambaLib.models.label_colors import label_color
from NNMambaLib.models.manifest import Label
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.training.data.augmentation import augmentation_of
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.coverage import CHANNELS, Shown
from NNMambaLib.training.data.nnunet_folder import read_segmentation_folder
from NNMambaLib.training.data.prepared import PreparedCase, Reference
from NNMambaLib.training.data.samplers import LABELS, PLACES, SegmentationSampler
from NNMambaLib.training.data.sources import ReferenceSource
from NNMambaLib.training.data.structures import measure_structures
from NNMambaLib.training.objectives.segmentation import SegmentationObjective
from NNMambaLib.training.validation_picture import draw_labels
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.resampling import resample
from NNMambaLib.volumes.volume import Grid, Shape, Volume

# Voxels kept of each label to place samples about; the same for every case, so that small labels count.
_PLACES = 1000
_KIND = "labels"
# Cases in which structures' thickness is measured: it takes a second for each large structure.
_MEASURED = 5


class SegmentationTask:
    """See `Task`. A prediction is a label volume on the model's grid, (z, y, x); its score is each label's Dice."""

    name = "segmentation"

    def __init__(self, folder: Path):
        content = read_segmentation_folder(folder)
        self.cases, self._channels, self._labels = content.cases, content.channels, content.labels

    def channel_names(self, count: int) -> tuple[str, ...]:
        return self._channels

    def names(self) -> dict[str, tuple[str, ...]]:
        return {CHANNELS: self._channels, _KIND: self._labels}

    def source(self, case: Case) -> ReferenceSource:
        return ReferenceSource(files=(case.reference,))

    def check(self, case: Case, volume: Volume) -> Shown:
        labels = read_volume(case.reference)
        if labels.channels != 1:
            raise VolumeError(f"{case.reference} has {labels.channels} channels where labels have one: save one layer.")
        if not labels.grid.matches(volume.grid):
            raise VolumeError(
                f"{case.reference} lies on another grid than {volume.name}: resample the labels to the volume's grid."
            )
        values = np.unique(labels.array)
        foreign = values[~np.isin(values, np.arange(len(self._labels) + 1))]
        if len(foreign):
            raise VolumeError(
                f"{case.reference} has the value {foreign[0]:g}, which dataset.json does not name: add the label "
                "there, or correct the file."
            )
        found = tuple((_KIND, self._labels[int(value) - 1]) for value in values if value > 0)
        measured = case in self.cases[:_MEASURED]
        structures = measure_structures(labels.array[0], self._labels, labels.grid, thickness=measured)
        return Shown(found, labels.array[0] > 0, structures)

    def reference(self, case: Case, grid: Grid) -> Reference:
        kind = np.uint8 if len(self._labels) < 256 else np.uint16
        labels = read_volume(case.reference)
        labels = resample(Volume(labels.array.astype(kind), labels.matrix), grid, "nearest", outside=0).array[0]
        rng, places = np.random.default_rng(0), []
        for value in np.unique(labels[labels > 0]):
            voxels = np.argwhere(labels == value)
            if len(voxels) > _PLACES:
                voxels = rng.choice(voxels, _PLACES, replace=False)
            places.append(np.column_stack([np.full(len(voxels), value), voxels]))
        return {LABELS: labels, PLACES: np.concatenate([np.empty((0, 4)), *places]).astype(np.int32)}

    def objective(self, configuration: ResolvedConfiguration, channels: int) -> SegmentationObjective:
        network = NetworkDescription(configuration.variant, channels, len(self._labels) + 1, configuration.base_width)
        return SegmentationObjective(network, configuration.deep_supervision)

    def sampler(self, configuration: ResolvedConfiguration) -> SegmentationSampler:
        return SegmentationSampler(configuration.patch_zyx, configuration.foreground, augmentation_of(configuration))

    def predict(self, network: nn.Module, device: torch.device, case: PreparedCase, patch: Shape) -> np.ndarray:
        predict = tile_predictor(network, device, softmax, ())
        labels = np.empty(case.grid.shape, case.reference[LABELS].dtype)
        tiling = Tiling.plan(case.grid.shape, patch)
        for rows in sliding_window(predict, case.array, tiling, len(self._labels) + 1):
            labels[rows.place[1:]] = rows.values.argmax(0).numpy()
        return labels

    def score(self, case: PreparedCase, prediction: np.ndarray) -> list[float]:
        reference = np.asarray(case.reference[LABELS])
        return [dice(prediction == value, reference == value) for value in range(1, len(self._labels) + 1)]

    def metrics(self, scores: Sequence[list[float]]) -> dict[str, float]:
        """Return the mean Dice over labels and cases, and each label's over the cases where either side has it."""
        values = np.array(scores, float).reshape(-1, len(self._labels))
        known = ~np.isnan(values)
        metrics = {"dice": float(values[known].mean())} if known.any() else {}
        for column, name in enumerate(self._labels):
            if known[:, column].any():
                metrics[f"dice {name}"] = float(values[known[:, column], column].mean())
        return metrics

    def sections(self, scores: Sequence[list[float]]) -> dict[str, Any]:
        count = len(self._labels) + 1
        labels = (Label(value, name, label_color(value, count)) for value, name in enumerate(self._labels, start=1))
        return {"labels": tuple(labels)}

    def picture(self, case: PreparedCase, prediction: np.ndarray, path: Path) -> None:
        draw_labels(case, case.reference[LABELS], prediction, self._labels, path)
