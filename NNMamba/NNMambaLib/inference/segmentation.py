"""Segmentation: from a prepared volume to labels on the grid of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from NNMambaLib.inference.prediction import tile_predictor
from NNMambaLib.inference.preprocessing import Prepared
from NNMambaLib.inference.sliding_window import Rows, Tiling, sliding_window
from NNMambaLib.monitor import Monitor
from NNMambaLib.resampling import extended, resample
from NNMambaLib.volume import Grid, Volume


@dataclass(frozen=True)
class SegmentationArrays:
    """On the input's grid: labels (z, y, x); where asked for, probabilities (label, z, y, x) and entropy (z, y, x)."""

    labels: np.ndarray
    probabilities: np.ndarray | None
    entropy: np.ndarray | None


def segment(
    prepared: Prepared,
    target: Grid,
    network: nn.Module,
    device: torch.device,
    tiling: Tiling,
    outputs: int,
    mirror_axes: tuple[str, ...],
    probabilities: bool,
    entropy: bool,
    monitor: Monitor,
) -> SegmentationArrays:
    """Run the network over a prepared volume; softmax of each tile, blended, argmax on the grid `target`."""
    predict = tile_predictor(network, device, lambda y: torch.softmax(y, dim=1), mirror_axes)
    monitor.stage("Segmenting", tiling.count)
    rows = sliding_window(predict, prepared.array, tiling, outputs, monitor.step)
    collector = _Resampled if prepared.resampled else _InPlace
    collected = collector(prepared.grid, target, outputs, probabilities, entropy)
    for finished in rows:
        collected.add(finished)
    del finished  # its values are a view of the slab, which would be held to the end
    monitor.stage("Back to the input's grid", 1)
    return collected.finish()


class _InPlace:
    """Takes the argmax as rows come: the model's grid is the input's, at most permuted and flipped."""

    def __init__(self, grid: Grid, target: Grid, outputs: int, probabilities: bool, entropy: bool):
        self._grid, self._target = grid, target
        self._labels = np.empty(grid.shape, _label_type(outputs))
        self._probabilities = np.empty((outputs, *grid.shape), np.float16) if probabilities else None
        self._entropy = np.empty(grid.shape, np.float32) if entropy else None

    def add(self, rows: Rows) -> None:
        self._labels[rows.place[1:]] = rows.values.argmax(0).numpy()
        if self._probabilities is not None:
            self._probabilities[rows.place] = rows.values.numpy()
        if self._entropy is not None:
            self._entropy[rows.place[1:]] = _entropy(rows.values).numpy()

    def finish(self) -> SegmentationArrays:
        return SegmentationArrays(
            np.ascontiguousarray(self._back(self._labels[None])[0]),
            None if self._probabilities is None else self._back(self._probabilities),
            None if self._entropy is None else self._back(self._entropy[None])[0],
        )

    def _back(self, array: np.ndarray) -> np.ndarray:
        # A view: no second copy of the probabilities.
        return Volume(array, self._grid.matrix).reoriented(self._target.orientation).array


class _Resampled:
    """Keeps the probabilities on the model's grid, and interpolates them one label at a time to the input's."""

    def __init__(self, grid: Grid, target: Grid, outputs: int, probabilities: bool, entropy: bool):
        self._grid, self._target = grid, target
        self._want_probabilities, self._want_entropy = probabilities, entropy
        # Half precision: its rounding, 5e-4, moves a boundary by less than interpolation does.
        self._values = np.empty((outputs, *grid.shape), np.float16)

    def add(self, rows: Rows) -> None:
        self._values[rows.place] = rows.values.numpy()

    def finish(self) -> SegmentationArrays:
        shape, outputs = self._target.shape, len(self._values)
        best = np.full(shape, -1, np.float32)
        labels = np.zeros(shape, _label_type(outputs))
        probabilities = np.empty((outputs, *shape), np.float16) if self._want_probabilities else None
        entropy = np.zeros(shape, np.float32) if self._want_entropy else None
        for label, values in enumerate(self._values):
            # The model's grid may end half a (large) voxel before the input's.
            volume = extended(Volume(values[None].astype(np.float32), self._grid.matrix))
            p = resample(volume, self._target, outside=float(label == 0)).array[0]
            better = p > best
            np.copyto(best, p, where=better)
            labels[better] = label
            if probabilities is not None:
                probabilities[label] = p
            if entropy is not None:
                for total, plane in zip(entropy, p, strict=True):
                    total -= plane * np.log(np.maximum(plane, 1e-12)) / math.log(outputs)
        return SegmentationArrays(labels, probabilities, entropy)


def _label_type(outputs: int) -> type:
    return np.uint8 if outputs <= 256 else np.uint16


def _entropy(p: torch.Tensor) -> torch.Tensor:
    """Return the entropy over the labels (label, z, y, x), in units of its largest value."""
    return torch.special.entr(p).sum(0) / math.log(p.shape[0])
