"""Reading and writing volumes: NRRD, NIfTI, MetaImage and DICOM series folders.

Headers and voxels are read here rather than by ITK, which follows the process's decimal comma, reports no failed write,
and trusts what a header claims.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.file_names import check_name
from NNMambaLib.files import atomic_file
from NNMambaLib.volumes import metaimage_header, nifti_header, nrrd_header
from NNMambaLib.volumes.checks import check_grid, check_voxels
from NNMambaLib.volumes.volume import Grid, Volume
from NNMambaLib.volumes.voxel_data import VoxelStream, read_voxels
from NNMambaLib.volumes.voxel_file import VoxelFile, check_exists

READABLE = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha")
_FORMATS = f"NRRD, NIfTI, MetaImage ({', '.join(READABLE)}) or a folder with one DICOM series"
_PARSERS: dict[tuple[str, ...], Callable[[Path], VoxelFile]] = {
    (".nrrd", ".nhdr"): nrrd_header.parse,
    (".nii", ".nii.gz"): nifti_header.parse,
    (".mha", ".mhd"): metaimage_header.parse,
}
# Label maps shrink by a factor of a hundred at any level; noise hardly at all.
_COMPRESSION_LEVEL = 2


def read_volume(path: str | Path, check: bool = True) -> Volume:
    """Read a 3-D volume with one or several channels.

    Args:
        path: a file, or a folder that holds one DICOM series.
        check: look at every voxel for what no model can use; the engine does so in any case.

    Raises:
        VolumeError: if it is missing, unreadable, damaged, not 3-D, or has no usable geometry.
    """
    check_name(path, VolumeError)
    path = Path(path)
    if check_exists(path):
        return _checked(_read_folder(path), check)
    if not path.name.lower().endswith(READABLE):
        raise VolumeError(f"{path} has an ending that cannot be read: give {_FORMATS}.")
    if path.stat().st_size == 0:
        raise VolumeError(f"{path} is empty: copy or export it again.")
    _check_apple_double(path)
    source = _parse(path)
    spatial = [size for axis, size in enumerate(source.shape) if axis != source.channel_axis]
    _check_slices(path.name, spatial)
    check_grid(Grid((spatial[0], spatial[1], spatial[2]), source.matrix), path.name)
    return _checked(Volume(read_voxels(source), source.matrix, path.name, source.notices), check)


def stored_files(path: Path) -> tuple[Path, ...]:
    """Return the file of a volume, and those that its header names for the voxels; no voxel is read.

    Raises:
        VolumeError: if it is not a file, or its header cannot be read.
    """
    if check_exists(path):
        raise VolumeError(f"{path} is a folder: give a volume's file.")
    return tuple(dict.fromkeys([path, *(part.path for part in _parse(path).parts)]))


def write_volume(volume: Volume, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Write a volume; the file appears whole, read back and compared, or not at all.

    Half precision is written as single precision. NIfTI gets the geometry as sform and as qform.

    Args:
        metadata: key-value pairs, which NRRD and MetaImage keep.

    Raises:
        OutputError: if the format is unknown, cannot hold the volume's geometry or type, or the file cannot be written.
    """
    path = Path(path)
    check_format(path)
    if volume.grid.sheared:
        raise OutputError(
            f"{volume.name} has sheared axes, which {path.name} cannot hold: resample it to a rectangular grid."
        )
    volume = Volume(volume.array, np.asarray(volume.matrix, float), volume.name)
    with atomic_file(path, check=lambda temporary: _compare(volume, temporary, path)) as temporary:
        _write(volume, temporary, metadata or {})


def check_format(path: str | Path) -> None:
    """Refuse a file name whose ending names no format that volumes can be written in.

    Raises:
        OutputError: naming the endings.
    """
    if not str(path).lower().endswith(WRITABLE):
        raise OutputError(f"{path} has an ending that cannot be written: end it in {', '.join(WRITABLE)}.")


def _parse(path: Path) -> VoxelFile:
    name = path.name.lower()
    return next(parse for endings, parse in _PARSERS.items() if name.endswith(endings))(path)


def _read_folder(folder: Path) -> Volume:
    from NNMambaLib.volumes.dicom_series import read_series

    return read_series(folder, _FORMATS)


def _check_apple_double(path: Path) -> None:
    """Refuse what macOS stores beside a file in archives and on foreign disks."""
    if path.name.startswith("._"):
        with path.open("rb") as file:
            if file.read(4) == b"\0\5\x16\7":
                raise VolumeError(
                    f"{path} holds what macOS notes about a file, not its voxels: give {path.name[2:]} instead."
                )


def _check_slices(name: str, shape: list[int]) -> None:
    if 1 in shape:
        raise VolumeError(f"{name} is a single slice, a 2-D image: give a 3-D volume.")


def _checked(volume: Volume, voxels: bool) -> Volume:
    _check_slices(volume.name, list(volume.grid.shape))
    if voxels:
        check_voxels(volume)
    return volume


def _stored_type(dtype: np.dtype) -> np.dtype:
    """Return the type in which files hold numbers of a type."""
    return np.dtype({"float16": np.float32, "bool": np.uint8}.get(dtype.name, dtype))


def _write(volume: Volume, path: Path, metadata: dict[str, str]) -> None:
    name = path.name.lower()
    start = b""
    dtype = _stored_type(volume.array.dtype)
    with path.open("wb") as file:
        if name.endswith(".nrrd"):
            file.write(nrrd_header.compose(volume, dtype, metadata))
            coder = zlib.compressobj(_COMPRESSION_LEVEL, wbits=31)
        elif name.endswith(".mha"):
            start = metaimage_header.compose(volume, dtype, metadata, 0)
            file.write(start)
            coder = zlib.compressobj(_COMPRESSION_LEVEL, wbits=15)
        else:
            coder = zlib.compressobj(_COMPRESSION_LEVEL, wbits=31) if name.endswith(".gz") else None
            start = nifti_header.compose(volume, dtype)
            file.write(coder.compress(start) if coder else start)
        for plane in _planes(volume, interleaved=not name.endswith((".nii", ".nii.gz"))):
            file.write(coder.compress(plane) if coder else plane)
        if coder:
            file.write(coder.flush())
        if name.endswith(".mha"):
            size = file.tell() - len(start)
            file.seek(0)
            file.write(metaimage_header.compose(volume, dtype, metadata, size))


def _planes(volume: Volume, interleaved: bool) -> Iterator[memoryview]:
    """Yield the bytes of a volume in little-endian order, slice by slice.

    Args:
        interleaved: whether the channels of a voxel are side by side, or each channel follows the one before.
    """
    dtype = _stored_type(volume.array.dtype).newbyteorder("<")
    if interleaved:
        planes = (np.moveaxis(volume.array[:, k], 0, -1) for k in range(volume.array.shape[1]))
    else:
        planes = (plane for channel in volume.array for plane in channel)
    for plane in planes:
        yield np.ascontiguousarray(plane, dtype).reshape(-1).view(np.uint8).data


def _compare(volume: Volume, temporary: Path, path: Path) -> None:
    """Read a written file again, block by block, and refuse one that does not hold the volume."""
    try:
        source = _parse(temporary)
        grid = Grid(volume.grid.shape, source.matrix)
        same = source.count == volume.array.size and source.dtype.newbyteorder("=") == _stored_type(volume.array.dtype)
        stream = VoxelStream(source)
        for plane in _planes(volume, interleaved=source.channel_axis != 0):
            found = bytearray(len(plane))
            stream.fill(memoryview(found))
            same = same and found == plane
        stream.finish()
        if not same:
            raise VolumeError("it holds other voxels")
        # Single precision, which NIfTI has, is no better than this.
        if not grid.matches(volume.grid, tolerance=0.02):
            raise VolumeError("it holds another geometry")
    except VolumeError as error:
        raise OutputError(f"{path} cannot be written (read back, {error}): check space and permissions.") from error
