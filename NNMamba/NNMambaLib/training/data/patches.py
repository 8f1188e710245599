"""Cutting patches from volumes. Indices and sizes are along (z, y, x)."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

import numpy as np


def place_patch(
    shape: Sequence[int], patch: Sequence[int], rng: np.random.Generator, around: Sequence[float] | None = None
) -> tuple[int, ...]:
    """Return the first voxel of a random patch within a volume, negative where that is smaller than the patch.

    Args:
        around: a voxel that the patch should contain, anywhere but at its rim.
    """
    start = []
    for axis, (size, width) in enumerate(zip(shape, patch, strict=True)):
        if size <= width:
            # As inference pads a small volume.
            start.append(-((width - size) // 2))
            continue
        first = int(rng.integers(size - width + 1))
        if around is not None:
            first = round(float(around[axis]) - rng.uniform(0.1, 0.9) * (width - 1))
        start.append(min(max(first, 0), size - width))
    return tuple(start)


def cut_patch(array: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Return (..., *size) from the voxel `start` on; zero outside the array (..., z, y, x)."""
    patch = np.zeros((*array.shape[:-3], *size), array.dtype)
    source: list[EllipsisType | slice] = [...]
    target: list[EllipsisType | slice] = [...]
    for first, width, length in zip(start, size, array.shape[-3:], strict=True):
        low, high = max(0, first), min(length, first + width)
        source.append(slice(low, max(low, high)))
        target.append(slice(low - first, max(low, high) - first))
    patch[tuple(target)] = array[tuple(source)]
    return patch
