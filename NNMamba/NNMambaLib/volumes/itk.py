"""SimpleITK images from volumes, and back."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.volume import Grid, Volume


def from_image(image: sitk.Image, name: str = "volume") -> Volume:
    """Return a SimpleITK image as a volume; the components of a vector image become channels.

    Raises:
        VolumeError: if the image is not 3-D.
    """
    if image.GetDimension() != 3:
        axes = image.GetDimension()
        remedy = "give a 3-D volume" if axes < 3 else "save the wanted 3-D volume by itself"
        raise VolumeError(f"{name} has {axes} dimensions where three are needed: {remedy}.")
    array = sitk.GetArrayFromImage(image)
    array = array[None] if image.GetNumberOfComponentsPerPixel() == 1 else np.moveaxis(array, -1, 0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return Volume(array, matrix, name)


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
    """Return origin, spacing and direction as ITK has them; sheared axes give a sheared direction."""
    return grid.matrix[:3, 3].tolist(), list(grid.spacing), (grid.matrix[:3, :3] / grid.spacing).ravel().tolist()
