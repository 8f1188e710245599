"""One DICOM image file: where its slice lies, and its values by its own modality LUT.

Source: DICOM PS3.3 C.7.6.2 (image plane), C.7.6.3 (image pixel), C.11.1 (modality LUT).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.dicom_compression import Compressed, decompressed
from NNMambaLib.volumes.dicom_header import BIG_ENDIAN, EXPLICIT, IMPLICIT, PIXEL_DATA, Header, read_header
from NNMambaLib.volumes.voxel_data import scaled_type
from NNMambaLib.volumes.voxel_file import cut_short, damaged, not_opened, printable

_LARGEST_IMAGE = 1 << 15


@dataclass(frozen=True)
class Slice:
    """A DICOM image: its header, and its values."""

    path: Path
    header: Header

    def text(self, name: str) -> str:
        """Return an element as text; empty without it."""
        value = self.header.elements.get(name, "")
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
        order = ">" if self.header.transfer_syntax == BIG_ENDIAN else "<"
        return np.dtype(f"{order}{'i' if self.number('signed', 0) else 'u'}{bits // 8}")

    @cached_property
    def value_type(self) -> np.dtype:
        """The smallest type that holds every value which the modality LUT can give."""
        if self.header.lut is None and self.rescale == (1, 0):
            return self.stored_type.newbyteorder("=")
        low, high = self.value_range
        if low.is_integer() and high.is_integer() and self._is_whole:
            return smallest_integer(low, high)
        return np.dtype(scaled_type(self.stored_type, *self.rescale))

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """Least and largest value that the modality LUT can give."""
        if self.header.lut is not None:
            return float(self.header.lut[1].min()), float(self.header.lut[1].max())
        bits = self.number("bits_stored", self.number("bits_allocated"))
        signed = self.stored_type.kind == "i"
        ends = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
        slope, intercept = self.rescale
        low, high = sorted(slope * end + intercept for end in ends)
        return low, high

    @property
    def _is_whole(self) -> bool:
        return self.header.lut is not None or all(part.is_integer() for part in self.rescale)

    def values(self) -> np.ndarray:
        """Return the pixels (row, column) by the modality LUT, in `value_type`.

        Raises:
            VolumeError: if the pixel data are cut short or cannot be decoded.
        """
        stored = self._stored()
        if self.header.lut is not None:
            first, table = self.header.lut
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
                file.seek(self.header.pixels_at)
                order = ">" if self.header.transfer_syntax == BIG_ENDIAN else "<"
                tag = struct.unpack(order + "HH", file.read(4).ljust(4, b"\0"))
                if tag != (PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF):
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
        bits, stored = 8 * dtype.itemsize, self.number("bits_stored", 8 * dtype.itemsize)
        high = self.number("high_bit", stored - 1)
        syntax = self.header.transfer_syntax
        native = syntax in (IMPLICIT, EXPLICIT, BIG_ENDIAN)
        needed = shape[0] * shape[1] * dtype.itemsize
        if native and len(content) < needed:
            raise cut_short(self.path, f"{len(content)} of {needed} bytes of pixels")
        if not native:
            array = decompressed(Compressed(self.path, content, syntax, shape, dtype, stored, high))
        else:
            array = np.frombuffer(content, dtype, shape[0] * shape[1]).reshape(shape)
        array = array.astype(dtype.newbyteorder("="), copy=False)
        if native and stored < bits:
            array = (array << (bits - 1 - high)) >> (bits - stored)
        return array


def read_slice(path: Path) -> Slice | None:
    """Return a DICOM image; None for a file of another kind.

    Raises:
        VolumeError: if it is DICOM and damaged, or stored in a way that cannot be read.
    """
    header = read_header(path)
    return None if header is None else Slice(path, header)


def smallest_integer(low: float, high: float) -> np.dtype:
    """Return the smallest of int16, uint16, int32, uint32 and int64 that holds a range; double precision beyond."""
    for name in (np.int16, np.uint16, np.int32, np.uint32, np.int64):
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return np.dtype(name)
    return np.dtype(np.float64)
