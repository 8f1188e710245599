"""A folder of DICOM files as one volume: which slices belong together, where they lie, and their values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.file_names import check_name
from NNMambaLib.volumes.dicom_slice import Slice, read_slice, smallest_integer
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.volumes.voxel_data import check_memory
from NNMambaLib.volumes.voxel_file import not_opened, printable

# A slice further from its even place, or from the line of the others, than this part of the spacing is out of place.
_SLICE_TOLERANCE = 0.1
# Direction cosines and spacings that differ by less are the same, written with fewer digits.
_SAME = 1e-3
# Slices closer to each other than this, in mm, are at one place.
_ONE_PLACE = 1e-3
_MOVE = "move the files of the wanted one to a folder of its own"
# What may tell images at one place apart, in words.
_DIFFERENCES = {
    "echo_time": "echo times", "b_value": "diffusion weightings", "time_point": "time points",
    "trigger_time": "trigger times", "image_type": "image types", "acquisition": "acquisitions",
    "content_time": "times",
}  # fmt: skip


def read_series(folder: Path, formats: str) -> Volume:
    """Return the DICOM series in a folder as a volume; each value is that of its slice's own modality LUT.

    Args:
        formats: what could be given instead, for messages.

    Raises:
        VolumeError: if the folder holds no series or several, or one that is not a stack of even parallel slices.
    """
    images = [image for image in _files(folder) if image.is_image]
    if not images:
        raise VolumeError(f"The folder {folder} holds no DICOM series: give {formats}.")
    series = {image.text("series") for image in images}
    if len(series) > 1:
        raise VolumeError(f"The folder {folder} holds {len(series)} DICOM series: {_MOVE}.")
    if any(image.frames > 1 for image in images):
        raise VolumeError(
            f"The folder {folder} holds a multi-frame DICOM file, whose frames cannot be placed reliably: convert "
            "it to NRRD first."
        )
    images, notices = _without_copies(images, folder.name)
    if len(images) < 2:
        raise VolumeError(f"The DICOM series in {folder} has a single slice, a 2-D image: give a 3-D volume.")
    _check_alike(folder, images)
    images, matrix = _stacked(folder, images)
    dtype = _common_type(images)
    rows, columns = images[0].shape
    check_memory(folder, len(images) * rows * columns * dtype.itemsize)
    array = np.empty((1, len(images), rows, columns), dtype)
    for plane, image in zip(array[0], images, strict=True):
        plane[:] = image.values()
    return Volume(array, matrix, folder.name, tuple(notices))


def _files(folder: Path) -> list[Slice]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise not_opened(folder, error) from error
    for path in paths:
        check_name(path, VolumeError)
    return [image for path in paths if (image := read_slice(path)) is not None]


def _without_copies(images: list[Slice], name: str) -> tuple[list[Slice], list[str]]:
    """Return each SOP instance once, and a notice if some were there several times."""
    first: dict[str, Slice] = {}
    kept = []
    for image in images:
        instance = image.text("sop_instance")
        if instance and instance in first:
            _check_copy(first[instance], image)
        else:
            first[instance] = image
            kept.append(image)
    copies = len(images) - len(kept)
    if not copies:
        return kept, []
    plural = "a copy of one of its slices, which was" if copies == 1 else f"{copies} copies of its slices, which were"
    return kept, [f"{name} holds {plural} left out"]


def _check_copy(image: Slice, copy: Slice) -> None:
    if image.header.elements != copy.header.elements or image.stored_bytes() != copy.stored_bytes():
        raise VolumeError(
            f"{copy.path} has the SOP Instance UID of {image.path.name} and differs from it: remove the wrong one."
        )


def _check_alike(folder: Path, images: list[Slice]) -> None:
    """Refuse slices of another orientation, pixel spacing or size than most."""
    for what, keys in (
        ("orientation", [_rounded(_axes(image).ravel()) for image in images]),
        ("pixel spacing", [_rounded(image.vector("spacing", 2)) for image in images]),
        ("size", [image.shape for image in images]),
    ):
        values = list(keys)
        common = Counter(values).most_common(1)[0][0]
        others = [
            image for image, key in zip(images, values, strict=True) if not np.allclose(key, common, atol=2 * _SAME)
        ]
        if others:
            why = "a localizer" if any(image.is_localizer for image in others) else "such as those of a localizer"
            raise VolumeError(
                f"The DICOM series in {folder} has {len(others)} of {len(images)} slices of another {what} than the "
                f"rest ({others[0].path.name}), {why}: move them to a folder of their own."
            )


def _rounded(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value) / _SAME) * _SAME for value in values)


def _axes(image: Slice) -> np.ndarray:
    """Return the unit vectors (2, 3) along a slice's rows and columns.

    Raises:
        VolumeError: if they are not at right angles.
    """
    axes = np.array(image.vector("orientation", 6)).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if not (np.abs(lengths - 1) < 0.01).all() or abs(axes[0] @ axes[1]) > 0.01:
        raise VolumeError(
            f"{image.path} has an orientation that is not two directions at right angles "
            f"({printable(image.text('orientation'))}): export the series again."
        )
    return axes / lengths[:, None]


def _stacked(folder: Path, images: list[Slice]) -> tuple[list[Slice], np.ndarray]:
    """Return the slices in order along their normal, and the matrix of the volume that they make.

    Raises:
        VolumeError: if several are at one place, or they are not evenly spaced on a line.
    """
    axes = _axes(images[0])
    normal = np.cross(axes[0], axes[1])
    # The stable second key keeps images at one place together.
    placed = sorted(
        ((float(np.dot(image.vector("position", 3), normal)), image) for image in images), key=lambda pair: pair[0]
    )
    images = [image for _, image in placed]
    positions = np.array([image.vector("position", 3) for image in images])
    _check_places(folder, images, positions)
    step = (positions[-1] - positions[0]) / (len(images) - 1)
    distance = float(np.linalg.norm(step))
    if abs(step @ normal) < 1e-3 * distance or distance == 0:
        raise VolumeError(f"The slices of the DICOM series in {folder} lie in one plane: give a stack of slices.")
    offsets = positions - positions[0]
    along = offsets @ step / distance
    beside = np.linalg.norm(offsets - np.outer(along, step / distance), axis=1).max()
    if beside > _SLICE_TOLERANCE * distance:
        raise VolumeError(
            f"The slices of the DICOM series in {folder} do not lie on one line (one is {beside:.3g} mm beside it): "
            "they are of several stacks; " + _MOVE + "."
        )
    uneven = float(np.abs(np.diff(along) - distance).max() / distance)
    if uneven > _SLICE_TOLERANCE:
        raise VolumeError(
            f"The DICOM series in {folder} has uneven or missing slices (a gap is off by {uneven:.0%} of the spacing): "
            "export it again, complete."
        )
    # Rows are spaced along the columns' direction, which is the first of the two spacings.
    down, across = images[0].vector("spacing", 2)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([axes[0] * across, axes[1] * down, step], 1)
    matrix[:3, 3] = positions[0]
    return images, matrix


def _check_places(folder: Path, images: list[Slice], positions: np.ndarray) -> None:
    places: list[list[Slice]] = []
    for index, image in enumerate(images):
        if index and np.linalg.norm(positions[index] - positions[index - 1]) < _ONE_PLACE:
            places[-1].append(image)
        else:
            places.append([image])
    most = max(places, key=len)
    if len(most) > 1:
        differing = [words for name, words in _DIFFERENCES.items() if len({image.text(name) for image in most}) > 1]
        what = f"of other {differing[0]}" if differing else "such as echoes or time points"
        raise VolumeError(
            f"The DICOM series in {folder} holds several images at one place ({len(images)} images at {len(places)} "
            f"places, {what}): move those of the wanted volume to a folder of their own."
        )


def _common_type(images: list[Slice]) -> np.dtype:
    """Return the smallest type that holds the values of every slice."""
    types = {image.value_type for image in images}
    if len(types) == 1:
        return types.pop()
    if all(dtype.kind in "iu" for dtype in types):
        ranges = [image.value_range for image in images]
        return smallest_integer(min(low for low, _ in ranges), max(high for _, high in ranges))
    return np.dtype(np.float32) if all(_fits_single(image) for image in images) else np.dtype(np.float64)


def _fits_single(image: Slice) -> bool:
    """Whether single precision tells a slice's values apart."""
    if image.value_type.kind == "f":
        return image.value_type == np.float32
    return max(abs(end) for end in image.value_range) <= 2**24
