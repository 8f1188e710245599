"""NRRD headers, attached (.nrrd) and detached (.nhdr): https://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.volumes.voxel_file import (
    LARGEST_HEADER,
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
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("unsigned char", "uchar", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("unsigned short", "ushort", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("unsigned int", "uint", "uint32", "uint32_t"),
    "i8": (
        "longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"
    ),
    "u8": ("unsigned long long", "ulonglong", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_TYPE_OF = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2", "ascii": "ascii", "text": "ascii",
    "txt": "ascii", "hex": "hex",
}  # fmt: skip
_SYNONYMS = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
# Factors from the axes of a space to LPS.
_SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_SPATIAL_KINDS = ("domain", "space", "time", "???", "none")
_VECTOR = re.compile(r"none|\([^()]*\)", re.IGNORECASE)
_UNITS = {"mm": 1.0, "millimeter": 1.0, "um": 1e-3, "µm": 1e-3, "micrometer": 1e-3, "cm": 10.0, "m": 1e3}


def parse(path: Path) -> VoxelFile:
    """Return what a file's header says.

    Raises:
        VolumeError: if it is not an NRRD header of a 3-D volume, contradicts itself, or names data files elsewhere.
    """
    fields, listed, end = _read_fields(path)
    axes = integers(path, "dimension", _required(path, fields, "dimension").split(), 1)[0]
    if not 1 <= axes <= 16:
        raise damaged(path, f"it says that it has {axes} dimensions")
    sizes = integers(path, "sizes", _required(path, fields, "sizes").split(), axes)
    directions = _directions(path, fields, axes)
    spatial = _spatial_axes(fields, axes, directions)
    check_dimensions(path, len(spatial))
    if axes - len(spatial) > 1:
        raise VolumeError(f"{path.name} has {axes - len(spatial)} axes of channels where one can be read: save fewer.")
    others = [axis for axis in range(axes) if axis not in spatial]
    kind = _kinds(fields, axes)[others[0]] if others else ""
    if "complex" in kind:
        raise VolumeError(f"{path.name} holds complex numbers: save its magnitude.")
    matrix, notices = _geometry(path, fields, axes, spatial, directions)
    encoding = _encoding(path, fields)
    dtype = _stored_type(path, fields, encoding)
    count = math.prod(sizes) * dtype.itemsize
    parts, skip = _parts(path, fields, listed, end, encoding, count)
    return VoxelFile(
        path, tuple(reversed(sizes)), axes - 1 - others[0] if others else None, dtype, matrix, parts, encoding, skip,
        notices=tuple(notices),
    )  # fmt: skip


def compose(volume: Volume, dtype: np.dtype, metadata: dict[str, str]) -> bytes:
    """Return the header of a volume whose voxels follow it in gzip, the channels of a voxel side by side.

    Args:
        dtype: in which the voxels are stored.

    Raises:
        OutputError: if the format has no room for its type.
    """
    code = f"{dtype.kind}{dtype.itemsize}"
    if code not in _TYPES:
        raise OutputError(f"{volume.name} holds numbers of type {dtype}, which NRRD cannot hold: convert them.")
    several = volume.channels > 1
    sizes = [*([volume.channels] if several else []), *reversed(volume.grid.shape)]
    vectors = [f"({','.join(plain_number(part) for part in column)})" for column in volume.matrix[:3, :4].T]
    lines = [
        "NRRD0005",
        f"type: {_TYPES[code][0]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in sizes)}",
        f"space directions: {'none ' if several else ''}{' '.join(vectors[:3])}",
        f"kinds: {'vector ' if several else ''}domain domain domain",
        *([] if dtype.itemsize == 1 else ["endian: little"]),
        "encoding: gzip",
        f"space origin: {vectors[3]}",
        *(f"{key}:={_escaped(value)}" for key, value in metadata.items()),
    ]
    return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")


def _read_fields(path: Path) -> tuple[dict[str, str], list[str], int]:
    """Return a header's fields, the data files that it lists, and where it ends."""
    fields: dict[str, str] = {}
    listed: list[str] = []
    try:
        with path.open("rb") as file:
            if not file.readline(16).startswith(b"NRRD000"):
                raise damaged(path, "it does not start with an NRRD header")
            while True:
                content = file.readline(LARGEST_HEADER + 1)
                if file.tell() > LARGEST_HEADER:
                    raise damaged(path, "its header has no end")
                line = content.decode("utf-8", "replace").rstrip("\r\n")
                if not content or not line:
                    if not content and "data file" not in fields:
                        raise cut_short(path, "within its header")
                    return fields, listed, file.tell()
                if "data file" in fields and fields["data file"].split()[:1] == ["LIST"]:
                    listed.append(line)
                elif not line.startswith("#") and ":=" not in line:
                    name, colon, value = line.partition(":")
                    if not colon:
                        raise damaged(path, f"its header holds {line[:60]!r}")
                    name = name.strip().lower()
                    fields[_SYNONYMS.get(name, name)] = value.strip()
    except OSError as error:
        raise not_opened(path, error) from error


def _required(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise damaged(path, f"its header lacks the field {name!r}")
    return fields[name]


def _kinds(fields: dict[str, str], axes: int) -> list[str]:
    kinds = fields.get("kinds", "").lower().split()
    return kinds if len(kinds) == axes else ["???"] * axes


def _directions(path: Path, fields: dict[str, str], axes: int) -> list[str]:
    """Return each axis's vector to the next voxel, as text; ``none`` for axes that are not spatial."""
    if "space directions" not in fields:
        return []
    words = _VECTOR.findall(fields["space directions"])
    if len(words) != axes:
        raise damaged(path, f"it has {len(words)} space directions where {axes} are needed")
    return [word.lower() for word in words]


def _vector(path: Path, field: str, word: str) -> np.ndarray:
    return np.array(numbers(path, field, word.strip().strip("()").split(","), 3))


def _spatial_axes(fields: dict[str, str], axes: int, directions: list[str]) -> list[int]:
    if directions:
        return [axis for axis, vector in enumerate(directions) if vector != "none"]
    return [axis for axis, kind in enumerate(_kinds(fields, axes)) if kind in _SPATIAL_KINDS]


def _geometry(
    path: Path, fields: dict[str, str], axes: int, spatial: list[int], directions: list[str]
) -> tuple[np.ndarray, list[str]]:
    notices, matrix = [], np.eye(4)
    space = fields.get("space", "").lower()
    if directions:
        matrix[:3, :3] = np.stack([_vector(path, "space directions", directions[axis]) for axis in spatial], 1)
    elif "spacings" in fields:
        spacings = numbers(path, "spacings", fields["spacings"].split(), axes)
        matrix[:3, :3] = np.diag([spacings[axis] for axis in spatial])
    else:
        notices.append(f"{path.name} says no voxel spacing: 1 mm was taken")
    if "space origin" in fields:
        matrix[:3, 3] = _vector(path, "space origin", fields["space origin"].replace(" ", ""))
    if space in _SPACES:
        matrix = np.diag([*_SPACES[space], 1.0]) @ matrix
    else:
        notices.append(
            f"{path.name} does not say which side is left (space: {printable(space) or 'none'}): "
            "left-posterior-superior was taken"
        )
    units = {word.strip('"').lower() for word in fields.get("space units", "").split()} - {"", "none", "???"}
    if len(units) == 1 and (factor := _UNITS.get(unit := units.pop(), 1.0)) != 1:
        matrix[:3] *= factor
        notices.append(f"{path.name} gives its geometry in {unit}, which was converted to mm")
    return matrix, notices


def _encoding(path: Path, fields: dict[str, str]) -> str:
    name = _required(path, fields, "encoding").lower()
    if name not in _ENCODINGS:
        raise VolumeError(f"{path} has the encoding {printable(name)}, which cannot be read: save it with gzip.")
    return _ENCODINGS[name]


def _stored_type(path: Path, fields: dict[str, str], encoding: str) -> np.dtype:
    name = " ".join(_required(path, fields, "type").lower().split())
    if name not in _TYPE_OF:
        raise VolumeError(f"{path} holds voxels of the type {printable(name)}, which cannot be read: save it as float.")
    dtype = np.dtype(_TYPE_OF[name])
    if dtype.itemsize == 1 or encoding == "ascii":
        return dtype
    endian = _required(path, fields, "endian").lower()
    if endian not in ("little", "big"):
        raise damaged(path, f"its byte order is {endian!r}")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _parts(
    path: Path, fields: dict[str, str], listed: list[str], end: int, encoding: str, count: int
) -> tuple[tuple[Part, ...], int]:
    """Return where the voxels are, and how many decoded bytes precede them."""
    lines = integers(path, "line skip", [fields.get("line skip", "0")], 1)[0]
    skip = integers(path, "byte skip", [fields.get("byte skip", "0")], 1)[0]
    if not (0 <= lines <= 1 << 20 and -1 <= skip <= 1 << 40):
        raise damaged(path, f"it skips {lines} lines and {skip} bytes")
    if "data file" in fields:
        files = data_files(path, fields["data file"], listed)
        offsets = [_after_lines(file, 0, lines) for file in files]
    else:
        files, offsets = [path], [_after_lines(path, end, lines)]
    if encoding == "raw":
        offsets = [
            file.stat().st_size - count // len(files) if skip == -1 else offset + skip
            for file, offset in zip(files, offsets, strict=True)
        ]
        if min(offsets) < 0:
            raise cut_short(path, f"{sum(file.stat().st_size for file in files)} of {count} bytes")
        skip = 0
    elif skip == -1:
        raise damaged(path, "byte skip is -1, which only raw data allow")
    return tuple(Part(file, offset) for file, offset in zip(files, offsets, strict=True)), skip


def _after_lines(path: Path, offset: int, lines: int) -> int:
    if not lines:
        return offset
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for _ in range(lines):
                if not file.readline(LARGEST_HEADER):
                    break
            return file.tell()
    except OSError as error:
        raise not_opened(path, error) from error


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\r", " ").replace("\n", "\\n")
