"""What no model can use: voxels, grids and channels that do not fit each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.resampling import resample
from NNMambaLib.volumes.volume import Grid, Volume

_ZERO_SPACING = "{} has a voxel spacing of zero along some axis: correct its header."


# Networks compute in single precision, whose largest number this is, nearly.
_LARGEST = 3e38


# A channel that covers less of the first one than this is of another place, or of another patient.
_LEAST_OVERLAP = 0.25


def stack_channels(volumes: Sequence[Volume]) -> tuple[Volume, list[str]]:
    """Return volumes as the channels of one, on the first one's grid, and a notice for each that was resampled.

    Raises:
        VolumeError: if one of several has more than one channel, or lies for the most part elsewhere than the first.
    """
    first = volumes[0]
    if len(volumes) == 1:
        return first, []
    notices, arrays = [], []
    for volume in volumes:
        if volume.channels != 1:
            raise VolumeError(f"{volume.name} has {volume.channels} channels: give either one file or one a channel.")
        if not volume.grid.matches(first.grid):
            _check_overlap(first, volume)
            notices.append(f"{volume.name} was resampled to the grid of {first.name}")
        arrays.append(resample(volume, first.grid).array.astype(np.float32, copy=False))
    return Volume(np.concatenate(arrays), first.matrix, first.name), notices


def check_voxels(volume: Volume) -> None:
    """Refuse a volume that no model can use.

    Raises:
        VolumeError: if a voxel is NaN, infinite or beyond single precision, or the grid is degenerate.
    """
    if np.issubdtype(volume.array.dtype, np.complexfloating):
        raise VolumeError(f"{volume.name} holds complex numbers: save its magnitude.")
    if np.issubdtype(volume.array.dtype, np.floating):
        limit = min(_LARGEST, float(np.finfo(volume.array.dtype).max))
        # Written so that NaN, which compares as false, counts too.
        bad = int(sum((~(np.abs(plane) <= limit)).sum() for channel in volume.array for plane in channel))
        if bad:
            beyond = bad - int((~np.isfinite(volume.array)).sum())
            what = f"NaN, infinite or beyond single precision ({_LARGEST:g})" if beyond else "NaN or infinite"
            raise VolumeError(
                f"{volume.name} holds {bad} voxels that are {what}: replace them by a number, such as the background's "
                "value."
            )
    _check_grid(volume)


def _check_grid(volume: Volume) -> None:
    if not np.isfinite(volume.matrix).all() or volume.grid.voxel_volume <= 1e-9:
        raise VolumeError(_ZERO_SPACING.format(volume.name))


def _check_overlap(first: Volume, other: Volume) -> None:
    for volume in (first, other):
        _check_grid(volume)
    covered = _covered(first.grid, other.grid)
    if covered < _LEAST_OVERLAP:
        raise VolumeError(
            f"{other.name} covers {covered:.0%} of {first.name}, too little to be another channel of it: register the "
            "volumes, or give those of one patient and place."
        )


def _covered(grid: Grid, other: Grid, samples: int = 16) -> float:
    """Return the part 0..1 of a grid that lies within another, by `samples` points along each axis."""
    axes = [(np.arange(samples) + 0.5) * size / samples - 0.5 for size in reversed(grid.shape)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    indices = other.to_index(grid.to_physical(points))
    return float(np.all((indices >= -0.5) & (indices <= np.array(other.shape[::-1]) - 0.5), axis=1).mean())
