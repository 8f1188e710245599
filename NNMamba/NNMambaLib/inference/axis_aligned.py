"""Volumes as nnU-Net prepares them: cropped to what is not zero, and resampled along their own axes."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from NNMambaLib.errors import VolumeError
from NNMambaLib.models.manifest import InputSpecification
from NNMambaLib.volumes.spline import resize
from NNMambaLib.volumes.volume import Grid, Shape, Spacing, Volume, reoriented_grid

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""First voxel and the one after the last, along (z, y, x)."""

# A spacing of more than so many times the finest is anisotropic.
_ANISOTROPIC = 3.0


def nonzero_box(volume: Volume) -> Box:
    """Return the box of the voxels that are not zero in every channel.

    Raises:
        VolumeError: if there are none.
    """
    box = []
    for axis in range(3):
        others = tuple(other for other in range(4) if other != axis + 1)
        found = np.flatnonzero(np.any(volume.array, axis=others))
        if len(found) == 0:
            raise VolumeError(f"{volume.name} holds only zeros: check the input.")
        box.append((int(found[0]), int(found[-1]) + 1))
    return box[0], box[1], box[2]


def turned_orientation(source: Grid, order: tuple[str, ...]) -> str:
    """Return the volume's own orientation with its axes in another order, such as ("y", "z", "x")."""
    return "".join(source.orientation["xyz".index(axis)] for axis in order or "xyz")


def turned_box(box: Box, order: tuple[str, ...]) -> Box:
    """Return a box in the indices of a volume whose axes are in another order."""
    z, y, x = (box["zyx".index(axis)] for axis in reversed(order or ("x", "y", "z")))
    return z, y, x


def edge_aligned_grid(source: Grid, specification: InputSpecification, box: Box | None) -> Grid:
    """Return the grid that a model with the interpolation ``cubic`` sees a volume on.

    It has the volume's axes, in the model's order, and the outer faces of the box; the spacing is that which divides
    the box into whole voxels.
    """
    turned = reoriented_grid(source, turned_orientation(source, specification.axis_order))
    inner = turned_box(box, specification.axis_order) if box else tuple((0, size) for size in turned.shape)
    old = np.array([stop - start for start, stop in reversed(inner)])
    if specification.spacing is not None:
        lengths = zip(turned.spacing, specification.spacing, old.tolist(), strict=True)
        sizes = [round(given / wanted * count) for given, wanted, count in lengths]
    else:
        sizes = list(specification.shape or ())
    new = np.maximum(1, sizes)
    matrix = turned.matrix.copy()
    matrix[:3, :3] = turned.matrix[:3, :3] * (old / new)
    first = np.array([start for start, _ in reversed(inner)])
    # The outer corner of the first voxel stays where it is.
    matrix[:3, 3] = turned.to_physical((first - 0.5)[None])[0] + matrix[:3, :3] @ np.full(3, 0.5)
    x, y, z = (int(size) for size in new)
    return Grid((z, y, x), matrix)


def planes_across(source: Spacing, target: Spacing, planes: str) -> int | None:
    """Return the axis (0: z, 1: y, 2: x) whose planes are resampled by themselves, or None.

    Args:
        source: spacing of what is resampled, along the model's (x, y, z).
        target: that it is resampled to.
        planes: as the manifest has it.
    """
    if planes == "never":
        return None
    candidates = [spacing for spacing in (source, target) if max(spacing) / min(spacing) > _ANISOTROPIC]
    if planes == "always":
        candidates = [source]
    if not candidates:
        return None
    spacing = candidates[0]
    coarsest = [axis for axis, length in enumerate(reversed(spacing)) if max(spacing) / length == 1]
    # Where two axes are as coarse, or all, there are no planes to tell from the rest.
    return coarsest[0] if len(coarsest) == 1 else None


def foreground(array: np.ndarray) -> np.ndarray:
    """Return the voxels (z, y, x) of an array (channel, z, y, x) that are not zero in every channel, holes filled."""
    mask = np.any(array, axis=0)
    filled = sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8)))
    return sitk.GetArrayViewFromImage(filled).astype(bool)


def resized_mask(mask: np.ndarray, shape: Shape, across: int | None) -> np.ndarray:
    """Return a mask (z, y, x) at another shape: where its linear interpolation is a half or more."""
    outside = resize(~mask, shape, 1, across) >= 0.5
    inside = resize(mask, shape, 1, across) >= 0.5
    return inside | ~outside
