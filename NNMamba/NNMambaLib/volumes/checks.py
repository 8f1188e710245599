"""Checks before a model is run: voxels and grids that no model can use, channels that do not fit each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.resampling import resample
from NNMambaLib.volumes.volume import Grid, Volume

# In mm; a little beyond what microscopes resolve and the largest scanners reach.
_SPACINGS = (1e-4, 1e3)
_FARTHEST = 1e6
# Networks compute in single precision, whose largest number this is, nearly.
_LARGEST = 3e38
# A channel that covers less than this part of the first one shows another place or another patient.
_LEAST_OVERLAP = 0.25


def stack_channels(volumes: Sequence[Volume]) -> tuple[Volume, list[str]]:
    """Return volumes as the channels of one, on the first one's grid, with their notices and one for each resampled.

    Raises:
        VolumeError: if one of several has more than one channel, or covers too little of the first.
    """
    first = volumes[0]
    if len(volumes) == 1:
        return first, list(first.notices)
    notices, arrays = [notice for volume in volumes for notice in volume.notices], []
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
                f"{volume.name} holds {bad} voxels that are {what}: replace them with a number, such as the "
                "background's value."
            )
    check_grid(volume.grid, volume.name)


def check_grid(grid: Grid, name: str) -> None:
    """Refuse a grid that is degenerate or beyond any scanner's reach.

    Raises:
        VolumeError: if a spacing is zero or out of range, the axes lie in one plane, or it lies too far away.
    """
    if not np.isfinite(grid.matrix).all():
        raise VolumeError(f"{name} has a geometry that is not finite: correct its header.")
    with np.errstate(over="ignore"):
        spacing = grid.spacing
        farthest = float(np.abs(grid.corners()).max())
    if min(spacing) == 0:
        raise VolumeError(f"{name} has a voxel spacing of zero along some axis: correct its header.")
    if not (_SPACINGS[0] <= min(spacing) and max(spacing) <= _SPACINGS[1]):
        raise VolumeError(
            f"{name} has a voxel spacing of {' x '.join(f'{step:.4g}' for step in spacing)} mm, outside of "
            f"{_SPACINGS[0]:g} to {_SPACINGS[1]:g}: correct its header."
        )
    if abs(np.linalg.det(grid.matrix[:3, :3] / spacing)) < 1e-3:
        raise VolumeError(f"{name} has axes that lie in one plane: correct its header.")
    if not farthest <= _FARTHEST:
        raise VolumeError(
            f"{name} reaches {farthest:.3g} mm from the origin, beyond {_FARTHEST:g}: correct its header."
        )


def _check_overlap(first: Volume, other: Volume) -> None:
    for volume in (first, other):
        check_grid(volume.grid, volume.name)
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
