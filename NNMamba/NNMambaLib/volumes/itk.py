"""Volumes as SimpleITK images, whose world is LPS like ours."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from NNMambaLib.volumes.volume import Grid, Volume


def to_image(volume: Volume) -> sitk.Image:
    """Return a volume as a SimpleITK image, several channels as a vector image; half precision becomes single."""
    single = volume.channels == 1
    array = np.ascontiguousarray(volume.array[0] if single else np.moveaxis(volume.array, 0, -1))
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    image = sitk.GetImageFromArray(array, isVector=not single)
    origin, spacing, direction = image_geometry(volume.grid)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def image_geometry(grid: Grid) -> tuple[list[float], list[float], list[float]]:
    """Return origin (mm, LPS), spacing (mm) and direction (row by row) along (x, y, z), as ITK has them.

    Sheared axes give a sheared direction.
    """
    return grid.matrix[:3, 3].tolist(), list(grid.spacing), (grid.matrix[:3, :3] / grid.spacing).ravel().tolist()
