"""From blended probabilities, a few rows at a time, to labels on the grid of the input.

The probabilities of the whole volume are never held unless they were asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from NNMambaLib.inference.blending import move_rows
from NNMambaLib.inference.preprocessing import REACH
from NNMambaLib.inference.sliding_window import Rows
from NNMambaLib.kernels import availability
from NNMambaLib.runtime.threads import for_each, split
from NNMambaLib.volumes.volume import Grid, Volume

# Voxels that numpy interpolates at a time.
_VOXELS = 2**15


@dataclass(frozen=True)
class SegmentationArrays:
    """On the input's grid: labels (z, y, x); where asked for, probabilities (label, z, y, x) and entropy (z, y, x)."""

    labels: np.ndarray
    probabilities: np.ndarray | None
    uncertainty: np.ndarray | None


@dataclass(frozen=True)
class Wanted:
    """What a collector makes: labels of so many outputs, and optional volumes beside them, of logits where so."""

    outputs: int
    probabilities: bool
    uncertainty: bool
    logits: bool = False

    def as_probabilities(self, values: np.ndarray) -> np.ndarray:
        """Return the probabilities (..., output) of values that were blended."""
        if not self.logits:
            return values
        p = np.exp(values - values.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True)

    def arrays(self, shape: tuple[int, int, int]) -> SegmentationArrays:
        """Return arrays for results on a grid, all background."""
        probabilities = np.zeros((self.outputs, *shape), np.float16) if self.probabilities else None
        if probabilities is not None:
            probabilities[0] = 1
        uncertainty = np.zeros(shape, np.float32) if self.uncertainty else None
        return SegmentationArrays(np.zeros(shape, label_type(self.outputs)), probabilities, uncertainty)


class Collector(Protocol):
    """Takes finished rows in order, and returns the arrays that were asked for."""

    def add(self, rows: Rows) -> None: ...

    def finish(self) -> SegmentationArrays: ...


class Reoriented:
    """For an input whose grid is the model's, at most permuted and flipped: no voxel is interpolated."""

    def __init__(self, grid: Grid, target: Grid, wanted: Wanted):
        self._grid, self._target, self._wanted = grid, target, wanted
        self._extras = wanted.probabilities or wanted.uncertainty
        self._arrays = wanted.arrays(grid.shape)

    def add(self, rows: Rows) -> None:
        shift = [0, 0, 0]
        shift[rows.axis] = rows.first - 1
        label_voxels(rows.stored, self._arrays.labels, rows.within, tuple(shift))
        # A plane at a time: the logarithms of all rows would be as large as they are.
        for plane, values in enumerate(rows.stored[rows.within] if self._extras else ()):
            p = self._wanted.as_probabilities(values)
            if self._arrays.probabilities is not None:
                self._arrays.probabilities[rows.place][:, plane] = np.moveaxis(p, -1, 0)
            if self._arrays.uncertainty is not None:
                self._arrays.uncertainty[rows.place[1:]][plane] = _uncertainty(p)

    def finish(self) -> SegmentationArrays:
        labels, probabilities, uncertainty = self._arrays.labels, self._arrays.probabilities, self._arrays.uncertainty
        return SegmentationArrays(
            np.ascontiguousarray(self._back(labels[None])[0]),
            None if probabilities is None else self._back(probabilities),
            None if uncertainty is None else self._back(uncertainty[None])[0],
        )

    def _back(self, array: np.ndarray) -> np.ndarray:
        # A view: no second copy of the probabilities.
        return Volume(array, self._grid.matrix).reoriented(self._target.orientation).array


class Resampled:
    """For any other grid: trilinear interpolation of the probabilities, then the first of the highest.

    A voxel of the input is labelled as soon as the rows are there that it lies between.

    Args:
        reach: voxels of the model's grid beyond its outermost ones up to which their values are taken; beyond is
            background.
        planes_across: the axis (0: z, 1: y, 2: x) of the model's grid along which the nearest voxel is taken.
    """

    def __init__(
        self, grid: Grid, target: Grid, wanted: Wanted, reach: float = REACH, planes_across: int | None = None
    ):
        self._shape, self._wanted = grid.shape, wanted
        self._reached, self._planes_across = reach, planes_across
        self._arrays = wanted.arrays(target.shape)
        self._only_labels = not (wanted.probabilities or wanted.uncertainty)
        self._highest: np.ndarray | None = None
        # From the target's indices to the model's, both (z, y, x).
        matrix = np.linalg.inv(grid.matrix) @ target.matrix
        self._origin = matrix[2::-1, 3].copy()
        self._steps = np.ascontiguousarray(matrix[2::-1, 2::-1].T)

    def add(self, rows: Rows) -> None:
        if self._highest is None:
            self._highest = np.zeros(rows.stored.shape[:3], self._arrays.labels.dtype)
        label_voxels(rows.stored, self._highest, rows.within, (0, 0, 0))
        reach = self._reach(rows)
        kernels = availability.label_kernels()
        if kernels is not None and self._only_labels and self._planes_across is None:
            for_each(
                lambda first, last: kernels.label_interpolated(
                    rows.stored, self._highest, *reach, self._arrays.labels, first, last
                ),
                split(len(self._arrays.labels)),
            )
        else:
            for_each(
                lambda plane: self._interpolate(plane, rows.stored, *reach),
                [(plane,) for plane in range(len(self._arrays.labels))],
            )
        move_rows(self._highest, rows.axis, rows.last - rows.first)

    def finish(self) -> SegmentationArrays:
        return self._arrays

    def _reach(self, rows: Rows) -> tuple[np.ndarray, ...]:
        """Return correspondence, limits and shift of the stored rows, as `label_interpolated` takes them.

        All but the shift are indices of the whole model's grid: rows that adjoin must have the very same limit between
        them, or a voxel that lies on it might be nobody's.
        """
        low, high = np.full(3, -self._reached), np.array(self._shape) - 1 + self._reached
        lowest, uppermost = np.zeros(3, np.int64), np.array(self._shape) - 1
        shift = np.zeros(3, np.int64)
        axis = rows.axis
        shift[axis] = rows.first - 1
        # Where more rows follow, those between the last and the next are theirs.
        if rows.first > 0:
            low[axis], lowest[axis] = rows.first - 1, rows.first - 1
        if rows.last < self._shape[axis]:
            high[axis], uppermost[axis] = rows.last - 1, rows.last - 1
        return self._origin, self._steps, low, high, lowest, uppermost, shift

    def _interpolate(self, plane: int, values: np.ndarray, origin, steps, low, high, lowest, uppermost, shift) -> None:
        """Do for one plane of the target, in numpy, what `kernels.labels.label_interpolated` does; its arguments."""
        labels = self._arrays.labels[plane]
        lines, i = (np.arange(size, dtype=float) for size in labels.shape)
        starts = origin[:, None] + plane * steps[0][:, None] + lines * steps[1][:, None]
        ends = starts + (len(i) - 1) * steps[2][:, None]
        reached = (np.maximum(starts, ends) >= low[:, None]) & (np.minimum(starts, ends) < high[:, None])
        lines = np.flatnonzero(reached.all(0))
        index = starts[:, lines, None] + i * steps[2][:, None, None]
        inside = ((low[:, None, None] <= index) & (index < high[:, None, None])).all(0)
        j, i = np.nonzero(inside)
        index = index[:, j, i]
        # A part at a time: a plane's interpolated outputs, on every thread, may take more than all the rest.
        for first in range(0, len(j), _VOXELS):
            part = slice(first, first + _VOXELS)
            where = (plane, lines[j[part]], i[part])
            self._label(where, index[:, part], values, lowest, uppermost, shift)

    def _label(self, where: tuple, index: np.ndarray, values: np.ndarray, lowest, uppermost, shift) -> None:
        """Write what is wanted of the target's voxels `where`, with their indices (3, voxel) in the model's grid."""
        corner, part, jump = np.zeros(index.shape[1], np.int64), [], []
        stride = np.cumprod((1, *values.shape[2:0:-1]))[::-1]
        for a in range(3):
            clipped = index[a].clip(lowest[a], uppermost[a])
            if a == self._planes_across:
                # The upper of two that are as near, whatever rounding made of the half.
                clipped = np.floor(clipped + 0.5 + 1e-6)
            below = clipped.astype(np.int64).clip(lowest[a], max(lowest[a], uppermost[a] - 1))
            corner += (below - shift[a]) * stride[a]
            part.append((clipped - below).astype(np.float32))
            jump.append(stride[a] if uppermost[a] > lowest[a] else 0)
        corners = [dz + dy + dx for dz in (0, jump[0]) for dy in (0, jump[1]) for dx in (0, jump[2])]
        if not self._only_labels:
            p = self._wanted.as_probabilities(_weighted(values, corner, corners, part))
            self._arrays.labels[where] = p.argmax(1)
            if self._arrays.probabilities is not None:
                self._arrays.probabilities[(slice(None), *where)] = p.T
            if self._arrays.uncertainty is not None:
                self._arrays.uncertainty[where] = _uncertainty(p)
            return
        assert self._highest is not None, "`add` made it"
        highest = self._highest.reshape(-1)
        found = highest[corner]
        mixed = np.flatnonzero(np.logical_or.reduce([highest[corner + offset] != found for offset in corners[1:]]))
        found[mixed] = _weighted(values, corner[mixed], corners, [values_[mixed] for values_ in part]).argmax(1)
        self._arrays.labels[where] = found


def label_type(outputs: int) -> type:
    return np.uint8 if outputs <= 256 else np.uint16


def label_voxels(values: np.ndarray, labels: np.ndarray, place: tuple[slice, ...], shift: tuple[int, ...]) -> None:
    """Write the output with the highest value, the first of equals, of the voxels in `place`.

    Args:
        values: (z, y, x, output), C-contiguous.
        labels: (z, y, x), written at the voxels' indices plus `shift`.
    """
    kernels = availability.label_kernels()
    begin, end = tuple(part.start for part in place), tuple(part.stop for part in place)
    if kernels is not None:
        planes = [(begin[0] + first, begin[0] + last) for first, last in split(end[0] - begin[0])]
        for_each(lambda first, last: kernels.label(values, labels, begin, end, shift, first, last), planes)
        return
    target = tuple(slice(part.start + moved, part.stop + moved) for part, moved in zip(place, shift, strict=True))
    for plane, found in zip(values[place], labels[target], strict=True):
        found[:] = plane.argmax(-1)


def _weighted(values: np.ndarray, corner: np.ndarray, corners: list[int], part: list[np.ndarray]) -> np.ndarray:
    """Return the trilinear interpolation (n, output) at voxels `corner` plus, along each axis, a part of a voxel."""
    flat = values.reshape(-1, values.shape[-1])
    sides = [(1 - along, along) for along in part]
    total = np.zeros((len(corner), values.shape[-1]), np.float32)
    for number, offset in enumerate(corners):
        z, y, x = sides[0][number >> 2], sides[1][number >> 1 & 1], sides[2][number & 1]
        total += flat[corner + offset] * (z * y * x)[:, None]
    return total


def _uncertainty(p: np.ndarray) -> np.ndarray:
    """Return the entropy over the labels (..., label), in units of its largest value."""
    return -(p * np.log(np.maximum(p, 1e-12))).sum(-1) / math.log(p.shape[-1])
