"""Moving volumes between grids, in physical space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from NNMambaLib.itk import image_geometry, to_image
from NNMambaLib.volume import Grid, Volume, orientation_axes, reoriented_grid

_INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "bspline": sitk.sitkBSpline}


def regular_grid(
    source: Grid,
    orientation: str,
    spacing: Sequence[float] | None = None,
    shape: Sequence[int] | None = None,
    anatomical: bool = True,
) -> Grid:
    """Return a grid of given orientation and spacing that covers another grid.

    Args:
        source: the grid to cover.
        orientation: three letters, such as ``RAS``.
        spacing: mm along the new (x, y, z); this or `shape`.
        shape: voxels along the new (x, y, z), the spacing following from the extent.
        anatomical: align the axes with the patient's; otherwise keep the source's axes, oblique as they may be,
            in the nearest order and direction.

    The new grid has the source's centre. Where its axes are the source's and the spacing is (nearly) the same, it is
    the source reoriented, so that resampling to it moves no voxel.
    """
    nearest = reoriented_grid(source, orientation)
    if anatomical:
        directions = np.zeros((3, 3))
        for column, (axis, sign) in enumerate(orientation_axes(orientation)):
            directions[axis, column] = sign
        reach = source.corners() @ directions
        extent = reach.max(0) - reach.min(0)
        centre = directions @ (reach.max(0) + reach.min(0)) / 2
    else:
        directions = nearest.matrix[:3, :3] / nearest.spacing
        extent = np.array(nearest.spacing) * nearest.shape[::-1]
        centre = nearest.to_physical(np.array(nearest.shape[::-1]) / 2 - 0.5)
    if shape is not None:
        sizes, steps = np.array(shape), extent / np.array(shape)
    else:
        steps = np.array(spacing, float)
        sizes = np.maximum(1, np.round(extent / steps)).astype(int)
    matrix = np.eye(4)
    matrix[:3, :3] = directions * steps
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((sizes - 1) / 2)
    grid = Grid(tuple(int(size) for size in reversed(sizes)), matrix)
    return nearest if grid.matches(nearest, tolerance=0.02) else grid


def resample(
    volume: Volume, grid: Grid, interpolation: str = "linear", anti_aliasing: bool = False, outside: float | None = None
) -> Volume:
    """Return the volume on another grid, in float32 (``nearest`` keeps the type).

    Args:
        interpolation: ``nearest``, ``linear`` or ``bspline`` (order 3).
        anti_aliasing: smooth along the axes that become coarser, before sampling.
        outside: value of voxels outside the volume; None takes each channel's minimum.
    """
    if grid.matches(volume.grid):
        return volume
    channels = []
    for channel in volume.array:
        values = channel if interpolation == "nearest" else channel.astype(np.float32, copy=False)
        image = to_image(Volume(values[None], volume.matrix))
        if anti_aliasing:
            image = _smoothed(image, volume.grid, grid)
        fill = float(channel.min()) if outside is None else outside
        resampled = sitk.Resample(
            image, grid.shape[::-1], sitk.Transform(), _INTERPOLATORS[interpolation],
            *image_geometry(grid), fill, image.GetPixelID(),
        )  # fmt: skip
        channels.append(sitk.GetArrayFromImage(resampled))
    return Volume(np.stack(channels), grid.matrix, volume.name)


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
