"""MetaImage headers, attached (.mha) and detached (.mhd): https://itk.org/Wiki/ITK/MetaIO/Documentation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.volumes.voxel_file import (
    Part,
    VoxelFile,
    check_dimensions,
    cut_short,
    damaged,
    data_files,
    integers,
    not_opened,
    numbers,
    plain_number,
    printable,
)

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_NAMES = {code: name for name, code in _TYPES.items() if "LONG" not in name or "LONG_LONG" in name}
# More than any header has: MetaImage headers hold no lists.
_LARGEST_HEADER = 1 << 20
_FIRST_KEYS = ("ObjectType", "NDims", "Comment", "ObjectSubType", "TransformType", "Name", "ID")


def parse(path: Path) -> VoxelFile:
    """Return what a file's header says.

    Raises:
        VolumeError: if it is not a MetaImage header of a 3-D volume, contradicts itself, or names data files elsewhere.
    """
    fields, listed, end = _read_fields(path)
    axes = integers(path, "NDims", fields.get("NDims", "").split(), 1)[0]
    if not 1 <= axes <= 16:
        raise damaged(path, f"it says that it has {axes} dimensions")
    check_dimensions(path, axes)
    sizes = integers(path, "DimSize", fields.get("DimSize", "").split(), 3)
    channels = integers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1").split(), 1)[0]
    matrix, notices = _geometry(path, fields)
    dtype = _stored_type(path, fields)
    compressed = _is_true(fields, "CompressedData")
    encoding = "ascii" if "BinaryData" in fields and not _is_true(fields, "BinaryData") else "raw"
    encoding = "zlib" if compressed else encoding
    shape = (*reversed(sizes), *([channels] if channels != 1 else []))
    count = math.prod(shape) * dtype.itemsize
    parts = _parts(path, fields, listed, end, count)
    return VoxelFile(
        path, shape, 3 if channels != 1 else None, dtype, matrix, parts, encoding, notices=tuple(notices)
    )  # fmt: skip


def compose(volume: Volume, dtype: np.dtype, metadata: dict[str, str], compressed_bytes: int) -> bytes:
    """Return the header of a volume whose voxels follow it in zlib, the channels of a voxel side by side.

    Its length does not depend on `compressed_bytes`.

    Args:
        dtype: in which the voxels are stored.

    Raises:
        OutputError: if the format has no room for its type.
    """
    code = f"{dtype.kind}{dtype.itemsize}"
    if code not in _NAMES:
        raise OutputError(f"{volume.name} holds numbers of type {dtype}, which MetaImage cannot hold: convert them.")
    spacing = volume.grid.spacing
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {compressed_bytes:020d}",
        f"TransformMatrix = {_joined((volume.matrix[:3, :3] / spacing).T.ravel())}",
        f"Offset = {_joined(volume.matrix[:3, 3])}",
        "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_joined(spacing)}",
        f"DimSize = {_joined(reversed(volume.grid.shape))}",
        *([f"ElementNumberOfChannels = {volume.channels}"] if volume.channels > 1 else []),
        f"ElementType = {_NAMES[code]}",
        *(f"{key} = {' '.join(value.split())}" for key, value in metadata.items()),
        "ElementDataFile = LOCAL",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _joined(values: Iterable[float]) -> str:
    return " ".join(plain_number(value) for value in values)


def _read_fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Return a header's fields, the data files that it lists, and where it ends."""
    fields: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            while "ElementDataFile" not in fields:
                content = file.readline(_LARGEST_HEADER + 1)
                if file.tell() > _LARGEST_HEADER:
                    raise damaged(path, "its header has no end")
                if not content:
                    raise cut_short(path, "within its header")
                name, equals, value = content.decode("utf-8", "replace").partition("=")
                if not equals and content.strip():
                    raise damaged(path, "it does not start with a MetaImage header" if not fields else "in its header")
                if not fields and equals and name.strip() not in _FIRST_KEYS:
                    raise damaged(path, "it does not start with a MetaImage header")
                fields[name.strip()] = value.strip()
            end = file.tell()
            listed = []
            if fields["ElementDataFile"].split()[:1] == ["LIST"]:
                names = file.read(_LARGEST_HEADER).decode("utf-8", "replace").splitlines()
                listed = [name.strip() for name in names if name.strip()]
            return fields, listed, end
    except OSError as error:
        raise not_opened(path, error) from error


def _is_true(fields: dict[str, str], name: str) -> bool:
    return fields.get(name, "")[:1] in ("T", "t", "1")


def _geometry(path: Path, fields: dict[str, str]) -> tuple[np.ndarray, list[str]]:
    notices = []
    spacing = _first(fields, "ElementSpacing", "ElementSize")
    if spacing is None:
        notices.append(f"{path.name} says no voxel spacing: 1 mm was taken")
    offset = _first(fields, "Offset", "Position", "Origin")
    directions = _first(fields, "TransformMatrix", "Rotation", "Orientation")
    matrix = np.eye(4)
    # Stored axis by axis.
    cosines = numbers(path, "TransformMatrix", (directions or "1 0 0 0 1 0 0 0 1").split(), 9)
    matrix[:3, :3] = np.reshape(cosines, (3, 3)).T
    matrix[:3, :3] *= numbers(path, "ElementSpacing", (spacing or "1 1 1").split(), 3)
    matrix[:3, 3] = numbers(path, "Offset", (offset or "0 0 0").split(), 3)
    return matrix, notices


def _first(fields: dict[str, str], *names: str) -> str | None:
    return next((fields[name] for name in names if fields.get(name)), None)


def _stored_type(path: Path, fields: dict[str, str]) -> np.dtype:
    name = fields.get("ElementType", "").removesuffix("_ARRAY")
    if name not in _TYPES:
        raise VolumeError(
            f"{path} holds voxels of the type {printable(name) or 'unknown'}, which cannot be read: save it as "
            "MET_FLOAT."
        )
    big = _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
    return np.dtype(_TYPES[name]).newbyteorder(">" if big else "<")


def _parts(path: Path, fields: dict[str, str], listed: list[str], end: int, count: int) -> tuple[Part, ...]:
    name = fields["ElementDataFile"]
    local = name.upper() in ("LOCAL", "PIXELDATA")
    paths = [path] if local else data_files(path, name, listed)
    header = integers(path, "HeaderSize", fields.get("HeaderSize", "0").split(), 1)[0]
    if header < -1:
        raise damaged(path, f"HeaderSize is {header}")
    if header == -1:
        offsets = [each.stat().st_size - count // len(paths) for each in paths]
        if min(offsets) < 0:
            raise cut_short(path, f"{sum(each.stat().st_size for each in paths)} of {count} bytes")
    else:
        offsets = [end if local and not header else header] * len(paths)
    return tuple(Part(each, offset) for each, offset in zip(paths, offsets, strict=True))
