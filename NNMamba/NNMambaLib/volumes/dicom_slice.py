"""One DICOM image file: where its slice lies, and its values by its own modality LUT.

Source: DICOM PS3.3 C.7.6.2 (image plane), C.7.6.3 (image pixel), C.11.1 (modality LUT); PS3.5 (encoding).
"""

from __future__ import annotations

import io
import struct
import tempfile
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.runtime.leftovers import PLAIN, temporary_prefix
from NNMambaLib.volumes.voxel_data import scaled_type
from NNMambaLib.volumes.voxel_file import cut_short, damaged, not_opened, printable

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
_PIXEL_DATA = 0x7FE00010
# Bytes of a header, and of the values kept from it; private elements of scanners reach a few MiB.
_LARGEST_HEADER = 1 << 24
# Bytes that a parser asks for where a file may rightly end: the preamble and its mark.
_LOOK_AHEAD = 132
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_IMPLICIT, _EXPLICIT, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
# JPEG, JPEG-LS, JPEG 2000, and run lengths.
_COMPRESSED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")
_LARGEST_IMAGE = 1 << 15


@dataclass(frozen=True)
class Slice:
    """The header of a DICOM image.

    Attributes:
        elements: the text or numbers of its elements, by the names in this file.
        lut: first stored number mapped, and the values from there on; None without a modality LUT sequence.
        pixels_at: where the element of the pixel data starts in the file.
    """

    path: Path
    elements: dict[str, Any]
    lut: tuple[int, np.ndarray] | None
    transfer_syntax: str
    pixels_at: int

    def text(self, name: str) -> str:
        """Return an element as text; empty without it."""
        value = self.elements.get(name, "")
        return value if isinstance(value, str) else str(value)

    def vector(self, name: str, count: int) -> tuple[float, ...]:
        """Return the numbers of an element.

        Raises:
            VolumeError: if it is missing, or does not hold `count` finite numbers.
        """
        try:
            values = tuple(float(word) for word in self.text(name).split("\\"))
        except ValueError:
            values = ()
        if len(values) != count or not np.isfinite(values).all():
            found = printable(self.text(name)) or "missing"
            raise VolumeError(
                f"{self.path} does not say its {name} ({found}), without which it cannot be used: export the series "
                "again from where it came."
            )
        return values

    def number(self, name: str, default: int | None = None) -> int:
        """Return a whole number.

        Raises:
            VolumeError: if it is missing and has no default, or is no whole number.
        """
        text = self.text(name)
        if not text and default is not None:
            return default
        try:
            return int(text)
        except ValueError as error:
            raise damaged(self.path, f"its {name} is {printable(text)!r}") from error

    @property
    def is_image(self) -> bool:
        """Whether it holds pixels, unlike a report or a directory."""
        return bool(self.text("rows")) and bool(self.text("columns"))

    @property
    def frames(self) -> int:
        return self.number("frames", 1)

    @property
    def is_localizer(self) -> bool:
        return "LOCALIZER" in self.text("image_type").upper().split("\\")

    @property
    def shape(self) -> tuple[int, int]:
        return self.number("rows"), self.number("columns")

    @cached_property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept; 1 and 0 where the file has neither.

        Raises:
            VolumeError: if they are not finite numbers, or the slope is zero.
        """
        slope, intercept = (
            self.vector(name, 1)[0] if self.text(name).strip() else default
            for name, default in (("slope", 1.0), ("intercept", 0.0))
        )
        if slope == 0:
            raise damaged(self.path, "its rescale slope is zero")
        return slope, intercept

    @cached_property
    def stored_type(self) -> np.dtype:
        """Type of a stored number, in the file's byte order.

        Raises:
            VolumeError: if it is not a grey-scale image of whole bytes.
        """
        samples, photometric = self.number("samples", 1), self.text("photometric")
        if samples != 1 or not photometric.startswith("MONOCHROME"):
            raise VolumeError(
                f"{self.path} is a colour image ({samples} samples a pixel, {printable(photometric) or 'unknown'}), "
                "such as a screenshot: move it to a folder of its own."
            )
        bits = self.number("bits_allocated")
        if bits not in (8, 16, 32):
            raise VolumeError(
                f"{self.path} has {bits} bits for a pixel, which cannot be read: convert the series to NRRD."
            )
        stored = self.number("bits_stored", bits)
        if not 1 <= stored <= bits or not stored - 1 <= self.number("high_bit", stored - 1) < bits:
            raise damaged(self.path, f"it stores {stored} bits of {bits}")
        if not all(1 <= size <= _LARGEST_IMAGE for size in self.shape):
            raise damaged(self.path, f"it has {self.shape[0]} rows and {self.shape[1]} columns")
        order = ">" if self.transfer_syntax == _BIG else "<"
        return np.dtype(f"{order}{'i' if self.number('signed', 0) else 'u'}{bits // 8}")

    @cached_property
    def value_type(self) -> np.dtype:
        """The smallest type that holds every value which the modality LUT can give."""
        if self.lut is None and self.rescale == (1, 0):
            return self.stored_type.newbyteorder("=")
        low, high = self.value_range
        if low.is_integer() and high.is_integer() and self._is_whole:
            return smallest_integer(low, high)
        return np.dtype(scaled_type(self.stored_type, *self.rescale))

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """Least and largest value that the modality LUT can give."""
        if self.lut is not None:
            return float(self.lut[1].min()), float(self.lut[1].max())
        bits = self.number("bits_stored", self.number("bits_allocated"))
        signed = self.stored_type.kind == "i"
        ends = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
        slope, intercept = self.rescale
        low, high = sorted(slope * end + intercept for end in ends)
        return low, high

    @property
    def _is_whole(self) -> bool:
        return self.lut is not None or all(part.is_integer() for part in self.rescale)

    def values(self) -> np.ndarray:
        """Return the pixels (row, column) by the modality LUT, in `value_type`.

        Raises:
            VolumeError: if the pixel data are cut short or cannot be decoded.
        """
        stored = self._stored()
        if self.lut is not None:
            first, table = self.lut
            return table[np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)].astype(self.value_type)
        slope, intercept = self.rescale
        if (slope, intercept) == (1, 0):
            return stored
        if self._is_whole:
            # The range was checked to fit; whole numbers need no floating point.
            wide = np.int64 if self.value_type.itemsize > 4 or stored.dtype.itemsize > 2 else np.int32
            return (stored.astype(wide) * wide(slope) + wide(intercept)).astype(self.value_type)
        return (stored * np.float64(slope) + intercept).astype(self.value_type)

    def stored_bytes(self) -> bytes:
        """Return the pixel data as they are stored.

        Raises:
            VolumeError: if they are cut short.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.pixels_at)
                order = ">" if self.transfer_syntax == _BIG else "<"
                tag = struct.unpack(order + "HH", file.read(4).ljust(4, b"\0"))
                if tag != (_PIXEL_DATA >> 16, _PIXEL_DATA & 0xFFFF):
                    raise VolumeError(f"{self.path} holds no pixels that can be read: convert the series to NRRD.")
                # An implicit length is even, so that it is never taken for one of these.
                kind = file.read(4)
                if kind[:2] in (b"OB", b"OW", b"UN"):
                    length_bytes = file.read(4)
                else:
                    kind, length_bytes = b"", kind
                length = struct.unpack(order + "I", length_bytes.ljust(4, b"\0"))[0]
                left = self.path.stat().st_size - file.tell()
                content = file.read(min(length, max(0, left)))
        except OSError as error:
            raise not_opened(self.path, error) from error
        if kind[:2] == b"OW" and order == ">" and self.stored_type.itemsize == 1:
            content = np.frombuffer(content[: len(content) // 2 * 2], ">u2").astype("<u2").tobytes()
        return content

    def _stored(self) -> np.ndarray:
        """Return the stored numbers (row, column), in native byte order, without what lies beside their bits."""
        content, dtype, shape = self.stored_bytes(), self.stored_type, self.shape
        native = self.transfer_syntax in (_IMPLICIT, _EXPLICIT, _BIG)
        needed = shape[0] * shape[1] * dtype.itemsize
        if native and len(content) < needed:
            raise cut_short(self.path, f"{len(content)} of {needed} bytes of pixels")
        if not native:
            array = _decompressed(self, content)
        else:
            array = np.frombuffer(content, dtype, shape[0] * shape[1]).reshape(shape)
        array = array.astype(dtype.newbyteorder("="), copy=False)
        bits, stored = 8 * dtype.itemsize, self.number("bits_stored", 8 * dtype.itemsize)
        high = self.number("high_bit", stored - 1)
        if native and stored < bits:
            array = (array << (bits - 1 - high)) >> (bits - stored)
        return array


def read_slice(path: Path) -> Slice | None:
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
                syntax = str(getattr(data.file_meta, "TransferSyntaxUID", "") or _EXPLICIT)
                elements, lut = _elements(data, syntax != _BIG)
            return Slice(path, elements, lut, syntax, bounded.tell())
    except OSError as error:
        raise not_opened(path, error) from error
    except VolumeError:
        raise
    except Exception as error:
        # A parser of damaged bytes may fail in any way; none of them may end in a traceback.
        if not marked:
            return None
        raise damaged(path, _reason(error)) from error


def smallest_integer(low: float, high: float) -> np.dtype:
    """Return the smallest of int16, uint16, int32, uint32 and int64 that holds a range; double precision beyond."""
    for name in (np.int16, np.uint16, np.int32, np.uint32, np.int64):
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return np.dtype(name)
    return np.dtype(np.float64)


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


def _decompressed(image: Slice, content: bytes) -> np.ndarray:
    """Return the stored numbers of compressed pixel data, decoded by SimpleITK from a file without a modality LUT."""
    import SimpleITK as sitk

    if not image.transfer_syntax.startswith(_COMPRESSED):
        raise VolumeError(
            f"{image.path} has the transfer syntax {printable(image.transfer_syntax)}, which cannot be read: convert "
            "the series to NRRD."
        )
    with tempfile.TemporaryDirectory(prefix=temporary_prefix(PLAIN)) as folder:
        path = Path(folder) / "slice.dcm"
        try:
            path.write_bytes(_plain_file(image, _fragments(content)))
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
        except Exception as error:
            # GDCM fails in many ways on damaged streams.
            raise damaged(image.path, f"its compressed pixels, {_reason(error)}") from error
    if array.size != image.shape[0] * image.shape[1]:
        raise damaged(image.path, "its compressed pixels have another size than its header says")
    return array.reshape(image.shape)


def _plain_file(image: Slice, fragments: bytes) -> bytes:
    """Return a DICOM file of an image's pixels alone (PS3.10, explicit value representations, little endian)."""
    capture, instance = b"1.2.840.10008.5.1.4.1.1.7", b"1.2.3"
    bits = 8 * image.stored_type.itemsize
    stored = image.number("bits_stored", bits)
    meta = (
        _element(0x00020002, b"UI", capture)
        + _element(0x00020003, b"UI", instance)
        + _element(0x00020010, b"UI", image.transfer_syntax.encode("ascii", "replace"))
    )
    numbers = (
        (0x00280010, image.shape[0]), (0x00280011, image.shape[1]), (0x00280100, bits), (0x00280101, stored),
        (0x00280102, image.number("high_bit", stored - 1)), (0x00280103, int(image.stored_type.kind == "i")),
    )  # fmt: skip
    return (
        bytes(128)
        + b"DICM"
        + _element(0x00020000, b"UL", struct.pack("<I", len(meta)))
        + meta
        + _element(0x00080016, b"UI", capture)
        + _element(0x00080018, b"UI", instance)
        + _element(0x00280002, b"US", struct.pack("<H", 1))
        + _element(0x00280004, b"CS", b"MONOCHROME2 ")
        + b"".join(_element(tag, b"US", struct.pack("<H", number)) for tag, number in numbers)
        + struct.pack("<HH2sHI", _PIXEL_DATA >> 16, _PIXEL_DATA & 0xFFFF, b"OB", 0, 0xFFFFFFFF)
        + fragments
        + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )


def _element(tag: int, representation: bytes, value: bytes) -> bytes:
    value += bytes(len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, representation, len(value)) + value


def _fragments(content: bytes) -> bytes:
    """Return the items of encapsulated pixel data without the delimiter and whatever follows it."""
    position = 0
    while content[position : position + 4] == b"\xfe\xff\x00\xe0":
        position += 8 + struct.unpack("<I", content[position + 4 : position + 8].ljust(4, b"\0"))[0]
    if position > len(content):
        raise ValueError("its compressed pixels are cut short")
    return content[:position]


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sitk::ERROR: ").rstrip(".")[:200] if lines else type(error).__name__
