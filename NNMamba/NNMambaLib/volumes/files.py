"""Reading and writing volumes through SimpleITK: NRRD, NIfTI, MetaImage and DICOM series folders."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.files import atomic_file
from NNMambaLib.volumes.checks import _ZERO_SPACING, check_voxels
from NNMambaLib.volumes.itk import from_image, to_image
from NNMambaLib.volumes.volume import Volume

READABLE = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha")
_FORMATS = f"NRRD, NIfTI, MetaImage ({', '.join(READABLE)}) or a folder with one DICOM series"
# A slice further from its even place than this part of the spacing makes a series unusable.
_SLICE_TOLERANCE = 0.1


def read_volume(path: str | Path) -> Volume:
    """Read a 3-D volume with one or several channels.

    Args:
        path: a file, or a folder that holds one DICOM series.

    Raises:
        VolumeError: if it is missing, unreadable, damaged, not 3-D, or has no usable geometry.
    """
    path = Path(path)
    _check_access(path)
    if path.is_dir():
        return _read_dicom(path)
    if not path.name.lower().endswith(READABLE):
        raise VolumeError(f"{path} is of no format that can be read: give {_FORMATS}.")
    if path.stat().st_size == 0:
        raise VolumeError(f"{path} is empty: copy or export it again.")
    _check_nifti(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        if "change spacing" in str(error):
            raise VolumeError(_ZERO_SPACING.format(path)) from error
        raise VolumeError(
            f"{path} cannot be read, it is damaged or cut short ({_last_line(error)}): copy or export it again."
        ) from error
    return _checked(from_image(image, path.name), image)


def write_volume(volume: Volume, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Write a volume; the file appears whole or not at all.

    Args:
        metadata: key-value pairs, which NRRD and MetaImage keep.

    Raises:
        OutputError: if the format is unknown, cannot hold the volume's geometry, or the file cannot be written.
    """
    path = Path(path)
    check_format(path)
    if volume.grid.sheared:
        raise OutputError(
            f"{volume.name} has sheared axes, which {path.name} cannot hold: resample it to a rectangular grid."
        )
    image = to_image(volume)
    for key, value in (metadata or {}).items():
        image.SetMetaData(key, value)
    with atomic_file(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OutputError(
                f"{path} cannot be written ({_last_line(error)}): check space and permissions."
            ) from error


def check_format(path: str | Path) -> None:
    """Refuse a file name whose ending is of no format that volumes are written in.

    Raises:
        OutputError: naming the endings.
    """
    if not str(path).lower().endswith(WRITABLE):
        raise OutputError(f"{path} is of no format that can be written: end it in {', '.join(WRITABLE)}.")


def _checked(volume: Volume, image: sitk.Image) -> Volume:
    if image.GetDimension() == 3 and 1 in volume.grid.shape:
        raise VolumeError(f"{volume.name} is a single slice, a 2-D image: give a 3-D volume.")
    check_voxels(volume)
    return volume


def _check_access(path: Path) -> None:
    """Refuse what is missing or cannot be opened, which ITK would call damaged."""
    try:
        if path.is_dir():
            os.listdir(path)
        else:
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VolumeError(f"There is no file or folder {path}: check the path.") from error
    except OSError as error:
        raise _not_opened(path, error) from error


def _not_opened(path: Path, error: OSError) -> VolumeError:
    return VolumeError(f"{path} cannot be opened ({error.strerror or error}): check its name and permissions.")


def _check_nifti(path: Path) -> None:
    """Refuse what ITK would read in silence: zero spacing (taken for 1 mm) and voxel data cut short (taken for 0)."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            header = file.read(348)
            if len(header) < 348:
                raise VolumeError(f"{path} is cut short within its header: copy or export it again.")
            order = "<" if struct.unpack_from("<i", header)[0] == 348 else ">"
            if struct.unpack_from(order + "i", header)[0] != 348:
                return
            dimensions = struct.unpack_from(order + "8h", header, 40)
            bits = struct.unpack_from(order + "h", header, 72)[0]
            spacing = struct.unpack_from(order + "8f", header, 76)
            start = struct.unpack_from(order + "f", header, 108)[0]
            count = int(np.prod([max(1, size) for size in dimensions[1 : 1 + max(0, min(7, dimensions[0]))]]))
            needed, found = int(start) + count * bits // 8, len(header)
            while block := file.read(1 << 22):
                found += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise VolumeError(f"{path} is damaged or cut short ({error}): copy or export it again.") from error
    except OSError as error:
        raise _not_opened(path, error) from error
    if found < needed:
        raise VolumeError(f"{path} is cut short ({found} of {needed} bytes): copy or export it again.")
    if any(not step > 0 and not step < 0 for step in spacing[1 : 1 + min(3, dimensions[0])]):
        raise VolumeError(_ZERO_SPACING.format(path))


def _read_dicom(folder: Path) -> Volume:
    reader = sitk.ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise VolumeError(f"The folder {folder} holds no DICOM series: give {_FORMATS}.")
    if len(series) > 1:
        raise VolumeError(
            f"The folder {folder} holds {len(series)} DICOM series: move the files of the wanted one to a folder of "
            "its own."
        )
    files = reader.GetGDCMSeriesFileNames(str(folder), series[0])
    try:
        slices = [_slice_geometry(file) for file in files]
        if any(depth > 1 for depth, _ in slices):
            # Their positions are in a sequence that the reader does not hand out.
            raise VolumeError(
                f"The folder {folder} holds a multi-frame DICOM file, whose frames cannot be placed reliably: convert "
                "it to NRRD first."
            )
        if len(files) < 2:
            raise VolumeError(f"The DICOM series in {folder} has a single slice, a 2-D image: give a 3-D volume.")
        reader.SetFileNames(files)
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(
            f"The DICOM series in {folder} cannot be read ({_last_line(error)}): export it again."
        ) from error
    volume = from_image(image, folder.name)
    positions = np.array([position for _, position in slices])
    steps = np.diff(positions, axis=0)
    step = (positions[-1] - positions[0]) / (len(files) - 1)
    uneven = np.linalg.norm(steps - step, axis=1).max() / max(np.linalg.norm(step), 1e-9)
    if uneven > _SLICE_TOLERANCE:
        raise VolumeError(
            f"The DICOM series in {folder} has uneven or missing slices (a gap is off by {uneven:.0%} of the spacing): "
            "export it again, complete."
        )
    # ITK has the slices along their normal at the first gap's distance; a tilted gantry shears, and gaps vary a little.
    matrix = volume.matrix.copy()
    matrix[:3, 2], matrix[:3, 3] = step, positions[0]
    return _checked(Volume(volume.array, matrix, volume.name), image)


def _slice_geometry(file: str) -> tuple[int, tuple[float, ...]]:
    """Return how many frames a DICOM file has, and the first one's position."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader.GetSize()[2], reader.GetOrigin()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sitk::ERROR: ").rstrip(".") if lines else type(error).__name__
