"""Resizing arrays along their axes, their outer faces kept in place, by splines of order 3, 1 or 0.

A spline is linear in the voxels and separable, so that each axis is a matrix: old voxels to new ones. Beyond the outer
voxels the array goes on with their values. The numbers are those of scipy.ndimage.zoom with ``mode="nearest"`` and
``grid_mode=True``, and of scikit-image's ``resize`` with ``mode="edge"``, which nnU-Net resamples with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# Voxels by which an axis is prolonged before a cubic spline is fitted: its ends have died away within.
_PROLONGED = 12


def resize(array: np.ndarray, shape: Sequence[int], order: int, planes_across: int | None = None) -> np.ndarray:
    """Return an array (z, y, x) at another shape, in float32, within the range of its values.

    Args:
        shape: voxels along (z, y, x).
        order: of the spline, 3, 1 or 0.
        planes_across: resize each plane across this axis by itself, and take the nearest of them; None for a spline
            along all axes.
    """
    if array.shape == tuple(shape):
        return np.asarray(array, np.float32)
    result = np.asarray(array, np.float32)
    within = tuple(axis for axis in range(3) if axis != planes_across)
    low, high = result.min(axis=within, keepdims=True), result.max(axis=within, keepdims=True)
    # Axes that shrink come first: what lies between is never larger than both ends.
    for axis in sorted(within, key=lambda axis: shape[axis] / array.shape[axis]):
        if shape[axis] != array.shape[axis]:
            matrix = _matrix(array.shape[axis], shape[axis], order)
            result = np.moveaxis(np.tensordot(matrix, result, (1, axis)), 0, axis)
    np.clip(result, low, high, out=result)
    if planes_across is not None and shape[planes_across] != array.shape[planes_across]:
        nearest = nearest_of(positions(array.shape[planes_across], shape[planes_across]), array.shape[planes_across])
        result = result.take(nearest, planes_across)
    return np.ascontiguousarray(result)


def positions(old: int, new: int) -> np.ndarray:
    """Return where the new voxels of an axis lie, in indices of the old ones."""
    return (np.arange(new) + 0.5) * (old / new) - 0.5


def nearest_of(index: np.ndarray, count: int) -> np.ndarray:
    """Return the nearest of `count` voxels, the upper of two that are as near."""
    return np.clip(np.floor(index + 0.5).astype(np.int64), 0, count - 1)


@lru_cache(maxsize=8)
def _matrix(old: int, new: int, order: int) -> np.ndarray:
    """Return the weights (new, old), float32, of an axis's old voxels in its new ones."""
    at = positions(old, new)
    if order == 0:
        return np.eye(old, dtype=np.float32)[nearest_of(at, old)]
    if order == 1:
        at = at.clip(0, old - 1)
        below = np.minimum(at.astype(np.int64), max(0, old - 2))
        weights = np.zeros((new, old))
        weights[np.arange(new), below] = 1 - (at - below)
        weights[np.arange(new), np.minimum(below + 1, old - 1)] += at - below
        return weights.astype(np.float32)
    size = old + 2 * _PROLONGED
    # Of the coefficients: values of the B-splines at the voxels, reflected at the ends.
    values = (np.diag(np.full(size, 4.0)) + np.diag(np.ones(size - 1), 1) + np.diag(np.ones(size - 1), -1)) / 6
    values[0, 0] = values[-1, -1] = 5 / 6
    at = at + _PROLONGED
    first = np.floor(at).astype(np.int64) - 1
    part = at - first - 1
    basis = np.zeros((new, size))
    for tap, weight in enumerate(
        (
            (1 - part) ** 3 / 6,
            (4 - 6 * part**2 + 3 * part**3) / 6,
            (1 + 3 * part + 3 * part**2 - 3 * part**3) / 6,
            part**3 / 6,
        )
    ):
        basis[np.arange(new), first + tap] = weight
    prolonged = np.linalg.solve(values.T, basis.T).T
    weights = prolonged[:, _PROLONGED : _PROLONGED + old].copy()
    weights[:, 0] += prolonged[:, :_PROLONGED].sum(1)
    weights[:, -1] += prolonged[:, _PROLONGED + old :].sum(1)
    return weights.astype(np.float32)
