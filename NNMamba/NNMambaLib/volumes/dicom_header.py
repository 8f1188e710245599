"""The header of a DICOM image file, read by pydicom within bounds.

Source: DICOM PS3.5 (encoding), PS3.6 (tags), PS3.10 (files).
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.voxel_file import cut_short, damaged, not_opened

PIXEL_DATA = 0x7FE00010
# Transfer syntaxes of pixels that are not compressed.
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_TAGS = {
    "image_type": 0x00080008, "sop_class": 0x00080016, "sop_instance": 0x00080018, "acquisition": 0x00200012,
    "echo_time": 0x00180081, "b_value": 0x00189087, "time_point": 0x00200100, "trigger_time": 0x00181060,
    "content_time": 0x00080033, "series": 0x0020000E, "instance_number": 0x00200013,
    "position": 0x00200032, "orientation": 0x00200037, "samples": 0x00280002, "photometric": 0x00280004,
    "frames": 0x00280008, "rows": 0x00280010, "columns": 0x00280011, "spacing": 0x00280030,
    "bits_allocated": 0x00280100, "bits_stored": 0x00280101, "high_bit": 0x00280102, "signed": 0x00280103,
    "intercept": 0x00281052, "slope": 0x00281053, "modality_lut": 0x00283000,
}  # fmt: skip
# Numbers that are not stored as text.
_BINARY = {
    _TAGS[name]: ("H", 2)
    for name in ("samples", "rows", "columns", "bits_allocated", "bits_stored", "high_bit", "signed")
}
_BINARY[_TAGS["b_value"]] = ("d", 8)
# Bytes of a header, and of the values kept from it; private elements of scanners reach a few MiB.
_LARGEST_HEADER = 1 << 24
# Bytes that a parser asks for where a file may rightly end: the preamble and its mark.
_LOOK_AHEAD = 132
_DEFLATED = b"1.2.840.10008.1.2.1.99"


@dataclass(frozen=True)
class Header:
    """What the header of a DICOM image says.

    Attributes:
        elements: the text or numbers of its elements, by the names in this file.
        lut: first stored number mapped, and the values from there on; None without a modality LUT sequence.
        pixels_at: where the element of the pixel data starts in the file.
    """

    elements: dict[str, Any]
    lut: tuple[int, np.ndarray] | None
    transfer_syntax: str
    pixels_at: int


def read_header(path: Path) -> Header | None:
    """Return the header of a DICOM file; None for any other file.

    Raises:
        VolumeError: if it is DICOM and damaged, or stored in a way that cannot be read.
    """
    from pydicom import config, dcmread

    try:
        with path.open("rb") as file:
            start = file.read(2048)
            marked = start[128:132] == b"DICM"
            if not marked and start[:2] not in (b"\x08\x00", b"\x02\x00"):
                return None
            if _DEFLATED in start:
                raise VolumeError(f"{path} is stored deflated, which cannot be read: convert the series to NRRD.")
            file.seek(0)
            bounded = _BoundedFile(file, path)
            # Values are checked where they are used, not by warnings on the console.
            with config.disable_value_validation(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = dcmread(bounded, stop_before_pixels=True, force=not marked, specific_tags=list(_TAGS.values()))
                syntax = str(getattr(data.file_meta, "TransferSyntaxUID", "") or EXPLICIT)
                elements, lut = _elements(data, syntax != BIG_ENDIAN)
            return Header(elements, lut, syntax, bounded.tell())
    except OSError as error:
        raise not_opened(path, error) from error
    except VolumeError:
        raise
    except Exception as error:
        # A parser of damaged bytes may fail in any way; none of them may end in a traceback.
        if not marked:
            return None
        raise damaged(path, reason(error)) from error


def reason(error: Exception) -> str:
    """Return the last line of a parser's or decoder's error, without its prefix."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sitk::ERROR: ").rstrip(".")[:200] if lines else type(error).__name__


class _BoundedFile:
    """A file for a parser: no read asks for more than is left, and all together for no more than a header has."""

    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        self._file, self._path = file, path
        self._size = path.stat().st_size
        self._budget = _LARGEST_HEADER
        self.name = str(path)
        self.tell = file.tell

    def read(self, count: int | None = None) -> bytes:
        left = max(0, self._size - self._file.tell())
        if count is None or count < 0:
            count = left
        if count > max(left, _LOOK_AHEAD):
            raise cut_short(self._path, f"an element of {count} bytes, {left} of them in the file")
        count = min(count, left)
        self._budget -= count
        if self._budget < 0:
            raise damaged(self._path, "its header has no end")
        return self._file.read(count)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = self._file.seek(offset, whence)
        if place > self._size:
            raise cut_short(self._path, f"an element ends at byte {place} of {self._size}")
        return place

    def close(self) -> None:
        self._file.close()


def _elements(data: Any, little_endian: bool) -> tuple[dict[str, Any], tuple[int, np.ndarray] | None]:
    elements = {
        name: _text(data.get_item(tag)) for name, tag in _TAGS.items() if name != "modality_lut" and tag in data
    }
    if _TAGS["modality_lut"] not in data or not data[_TAGS["modality_lut"]].value:
        return elements, None
    item = data[_TAGS["modality_lut"]].value[0]
    entries, first, bits = (int(value) for value in item[0x00283002].value)
    entries = entries % 65536 or 65536
    table = item[0x00283006].value
    if isinstance(table, bytes):
        order = "<" if little_endian else ">"
        table = np.frombuffer(table, np.uint8 if bits <= 8 and len(table) < 2 * entries else f"{order}u2")
    values = np.atleast_1d(np.asarray(table)).astype(np.int64)[:entries]
    if len(values) < entries:
        raise ValueError(f"its modality LUT has {len(values)} of {entries} entries")
    if elements.get("signed", "0") == "1" and first >= 32768:
        first -= 65536
    return elements, (first, values)


def _text(element: Any) -> str:
    """Return the value of an element, as it is stored, in text; several are parted by backslashes."""
    value = element.value
    if isinstance(value, bytes):
        code, size = _BINARY.get(int(element.tag), ("", 0))
        if code and len(value) % size == 0:
            order = "<" if element.is_little_endian else ">"
            return "\\".join(str(number) for number in struct.unpack(f"{order}{len(value) // size}{code}", value))
        return value.decode("latin-1").strip(" \0")
    if value is None:
        return ""
    return str(value) if isinstance(value, str | int | float) else "\\".join(str(each) for each in value)
