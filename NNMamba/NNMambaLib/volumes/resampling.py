"""Moving volumes between grids, in physical space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from NNMambaLib.volumes.itk import image_geometry, to_image
from NNMambaLib.volumes.volume import Grid, Volume, orientation_axes, reoriented_grid

_INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "bspline": sitk.sitkBSpline}


def regular_grid(
    source: Grid,
    orientation: str,
    spacing: Sequence[float] | None = None,
    shape: Sequence[int] | None = None,
    anatomical: bool = True,
) -> Grid:
    """Return a grid of given orientation and spacing in the place of another grid.

    Args:
        source: the grid to stand for; the new one has its centre and, to half a new voxel, its extent.
        orientation: three letters, such as ``RAS``.
        spacing: mm along the new (x, y, z); this or `shape`.
        shape: voxels along the new (x, y, z), the spacing following from the extent.
        anatomical: align the axes with the patient's; otherwise keep the source's axes, oblique as they may be,
            in the nearest order and direction.

    Where its axes are the source's and the spacing is (nearly) the same, it is the source reoriented, so that
    resampling to it moves no voxel.
    """
    nearest = reoriented_grid(source, orientation)
    if anatomical:
        directions = np.zeros((3, 3))
        for column, (axis, sign) in enumerate(orientation_axes(orientation)):
            directions[axis, column] = sign
    else:
        directions = nearest.matrix[:3, :3] / nearest.spacing
    grid = _grid_along(directions, source, spacing, shape)
    return nearest if grid.matches(nearest, tolerance=0.02) else grid


def rectangular_grid(source: Grid) -> Grid:
    """Return a grid without shear in the place of one that may have it, such as that of a tilted gantry.

    The x axis keeps its direction and the y axis its plane; the spacing along z becomes the distance of the slices.
    """
    directions, triangle = np.linalg.qr(source.matrix[:3, :3])
    lengths = np.diag(triangle)
    return _grid_along(directions * np.sign(lengths), source, spacing=np.abs(lengths))


def _grid_along(
    directions: np.ndarray,
    source: Grid,
    spacing: Sequence[float] | np.ndarray | None = None,
    shape: Sequence[int] | None = None,
) -> Grid:
    """Return a grid with axes along the columns of `directions`, which covers the corners of `source`."""
    reach = source.corners() @ np.linalg.inv(directions).T
    extent = reach.max(0) - reach.min(0)
    if shape is not None:
        sizes, steps = np.array(shape), extent / np.array(shape)
    else:
        steps = np.array(spacing, float)
        sizes = np.maximum(1, np.round(extent / steps)).astype(int)
    matrix = np.eye(4)
    matrix[:3, :3] = directions * steps
    matrix[:3, 3] = directions @ (reach.max(0) + reach.min(0)) / 2 - matrix[:3, :3] @ ((sizes - 1) / 2)
    x, y, z = (int(size) for size in sizes)
    return Grid((z, y, x), matrix)


def resample(
    volume: Volume,
    grid: Grid,
    interpolation: str = "linear",
    anti_aliasing: bool = False,
    outside: float | None = None,
) -> Volume:
    """Return the volume on another grid, in float32 (``nearest`` keeps the type).

    Args:
        interpolation: ``nearest``, ``linear`` or ``bspline`` (order 3).
        anti_aliasing: smooth along the axes that become coarser, before sampling.
        outside: value of voxels outside the volume; None takes each channel's minimum.
    """
    if grid.matches(volume.grid):
        return volume
    array = np.empty((volume.channels, *grid.shape), volume.array.dtype if interpolation == "nearest" else np.float32)
    for target, channel in zip(array, volume.array, strict=True):
        image = to_image(Volume(channel[None].astype(array.dtype, copy=False), volume.matrix))
        if anti_aliasing:
            image = _smoothed(image, volume.grid, grid)
        fill = float(channel.min()) if outside is None else outside
        resampled = sitk.Resample(
            image, grid.shape[::-1], sitk.Transform(), _INTERPOLATORS[interpolation],
            *image_geometry(grid), fill, image.GetPixelID(),
        )  # fmt: skip
        target[:] = sitk.GetArrayViewFromImage(resampled)
    return Volume(array, grid.matrix, volume.name)


def _smoothed(image: sitk.Image, source: Grid, target: Grid) -> sitk.Image:
    # The pitch of the target along each source axis; sigma as a function of it as in scikit-image's resize.
    source_directions = source.matrix[:3, :3] / source.spacing
    target_directions = target.matrix[:3, :3] / target.spacing
    pitch = np.max(np.abs(source_directions.T @ target_directions) * target.spacing, axis=1)
    sigmas = np.maximum(0, (pitch / source.spacing - 1) / 2) * source.spacing
    for axis, sigma in enumerate(sigmas):
        if sigma > 0.1 * source.spacing[axis] and image.GetSize()[axis] >= 4:
            image = sitk.RecursiveGaussian(
                image, float(sigma), False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis
            )
    return image
