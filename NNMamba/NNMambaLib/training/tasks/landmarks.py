"""Training landmarks on volumes with Slicer's markups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.landmarks import compare_landmarks
from NNMambaLib.inference.landmarks import decode
from NNMambaLib.inference.sliding_window import Tiling, sliding_window
from NNMambaLib.inference.tile_predictor import tile_predictor
from NNMambaLib.models.manifest import HeatmapDecoding, LandmarkDefinition
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.calibration import fit_heatmap_decoding
from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.training.data.augmentation import augmentation_of
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.coverage import Shown
from NNMambaLib.training.data.landmarks_folder import read_landmarks_folder
from NNMambaLib.training.data.prepared import PreparedCase, Reference
from NNMambaLib.training.data.samplers import LANDMARKS, LandmarksSampler
from NNMambaLib.training.data.sources import ReferenceSource
from NNMambaLib.training.objectives.landmarks import LandmarksObjective
from NNMambaLib.training.validation_picture import draw_landmarks
from NNMambaLib.volumes.volume import Grid, Position, Shape, Volume

_RADIUS_MM = 4.0
_KIND = "landmarks"
# Takes any peak: whether it is high enough is decided by calibration.
_ANYWHERE = HeatmapDecoding(slope=1.0, intercept=0.0, threshold=0.0)


@dataclass(frozen=True)
class Peaks:
    """The LPS position in mm and the height of each heatmap's peak; no position where the heatmap is empty."""

    positions: tuple[Position | None, ...]
    heights: tuple[float, ...]


Score = tuple[Peaks, list[Position | None]]


class LandmarksTask:
    """See `Task`. A prediction is `Peaks`; its score is the peaks with the positions of the reference."""

    name = "landmarks"

    def __init__(self, folder: Path):
        content = read_landmarks_folder(folder)
        self.cases, self._names = content.cases, content.landmarks

    def channel_names(self, count: int) -> tuple[str, ...]:
        return tuple(f"channel {number}" for number in range(1, count + 1))

    def names(self) -> dict[str, tuple[str, ...]]:
        return {_KIND: self._names}

    def source(self, case: Case) -> ReferenceSource:
        return ReferenceSource(content=dict(case.reference.positions))

    def check(self, case: Case, volume: Volume) -> Shown:
        found = []
        for name, position in case.reference.positions.items():
            if position is None:
                continue
            index = volume.grid.to_index(np.array([position]))[0]
            if np.any(index < -0.5) or np.any(index > np.array(volume.grid.shape[::-1]) - 0.5):
                place = ", ".join(f"{coordinate:.1f}" for coordinate in position)
                raise VolumeError(
                    f"{case.reference.path} has '{name}' at {place} mm (LPS), outside {volume.name}: correct it, or "
                    "leave it undefined."
                )
            found.append((_KIND, name))
        return Shown(tuple(found))

    def reference(self, case: Case, grid: Grid) -> Reference:
        """Return (K, 4): voxel index (x, y, z) and 1, or zeros where the landmark is not visible."""
        rows = np.zeros((len(self._names), 4))
        for row, name in zip(rows, self._names, strict=True):
            position = case.reference.positions[name]
            if position is not None:
                row[:] = (*grid.to_index(np.array([position]))[0], 1)
        return {LANDMARKS: rows}

    def objective(self, configuration: ResolvedConfiguration, channels: int) -> LandmarksObjective:
        network = NetworkDescription(configuration.variant, channels, len(self._names), configuration.base_width)
        return LandmarksObjective(network, configuration.heatmap_sigma)

    def sampler(self, configuration: ResolvedConfiguration) -> LandmarksSampler:
        return LandmarksSampler(configuration.patch_zyx, configuration.foreground, augmentation_of(configuration))

    def predict(self, network: nn.Module, device: torch.device, case: PreparedCase, patch: Shape) -> Peaks:
        predict = tile_predictor(network, device, lambda y: y, ())
        heatmaps = np.empty((len(self._names), *case.grid.shape), np.float32)
        tiling = Tiling.plan(case.grid.shape, patch)
        for rows in sliding_window(predict, case.array, tiling, len(self._names)):
            heatmaps[rows.place] = rows.values.numpy()
        found = [decode(heatmap, case.grid, LandmarkDefinition("", ""), _ANYWHERE) for heatmap in heatmaps]
        return Peaks(tuple(landmark.position for landmark in found), tuple(float(h.max()) for h in heatmaps))

    def score(self, case: PreparedCase, prediction: Peaks) -> Score:
        return prediction, self._positions(case)

    def metrics(self, scores: Sequence[Score]) -> dict[str, float]:
        """Return the mean radial error in mm of the landmarks found, and the fraction of all found within 4 mm.

        A landmark is found where the package that is made of these scores would find it.
        """
        decoding = _decoding(scores)
        accuracies = compare_landmarks(
            [dict(zip(self._names, _found(peaks, decoding), strict=True)) for peaks, _ in scores],
            [dict(zip(self._names, positions, strict=True)) for _, positions in scores],
        ).values()
        errors = [error for accuracy in accuracies for error in accuracy.errors]
        present = len(errors) + sum(accuracy.missed for accuracy in accuracies)
        metrics = {"radial error mm": float(np.mean(errors))} if errors else {}
        if present:
            metrics[f"within {_RADIUS_MM:g} mm"] = sum(error <= _RADIUS_MM for error in errors) / present
        return metrics

    def sections(self, scores: Sequence[Score]) -> dict[str, Any]:
        return {
            "landmarks": tuple(LandmarkDefinition(name, name) for name in self._names),
            "heatmap": _decoding(scores),
        }

    def picture(self, case: PreparedCase, prediction: Peaks, path: Path) -> None:
        draw_landmarks(case, self._positions(case), prediction.positions, self._names, path)

    def _positions(self, case: PreparedCase) -> list[Position | None]:
        rows = case.reference[LANDMARKS]
        places = case.grid.to_physical(rows[:, :3])
        return [tuple(place) if row[3] > 0 else None for row, place in zip(rows, places, strict=True)]


def _decoding(scores: Sequence[Score]) -> HeatmapDecoding:
    heights = [height for peaks, _ in scores for height in peaks.heights]
    present = [position is not None for _, positions in scores for position in positions]
    return fit_heatmap_decoding(heights, present)


def _found(peaks: Peaks, decoding: HeatmapDecoding) -> list[Position | None]:
    """Return the positions of the peaks that are high enough for the decoding."""
    pairs = zip(peaks.positions, peaks.heights, strict=True)
    return [position if decoding.confidence(height) >= decoding.threshold else None for position, height in pairs]
