"""Fitting a volume to a network's patch, about the center of both."""

from __future__ import annotations

import numpy as np

from NNMambaLib.volumes.volume import Shape


def fit_to_patch(array: np.ndarray, patch: Shape) -> np.ndarray:
    """Return (channel, z, y, x) cropped or zero-padded about its center to the size `patch` (z, y, x)."""
    fitted = np.zeros((array.shape[0], *patch), np.float32)
    source, target = [slice(None)], [slice(None)]
    for size, wanted, start in zip(array.shape[1:], patch, patch_start(array.shape[1:], patch), strict=True):
        length = min(size, wanted)
        source.append(slice(max(0, start), max(0, start) + length))
        target.append(slice(max(0, -start), max(0, -start) + length))
    fitted[tuple(target)] = array[tuple(source)]
    return fitted


def patch_start(shape: tuple[int, ...], patch: Shape) -> tuple[int, ...]:
    """Return the index (z, y, x) in the array of the first voxel of `fit_to_patch`; negative where that is padding."""
    return tuple(
        (size - wanted) // 2 if size > wanted else -((wanted - size) // 2)
        for size, wanted in zip(shape, patch, strict=True)
    )
