"""The voxels of a file: decoded block by block into the array they belong in, and checked to their end."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.runtime.memory import free_memory
from NNMambaLib.runtime.units import format_bytes
from NNMambaLib.volumes.voxel_file import Part, VoxelFile, cut_short, damaged, not_opened

_READ = 1 << 18
_DECODED = 1 << 20
# The most bytes that one stored byte can stand for; deflate's bound is exact, that of bzip2 is generous.
_LARGEST_RATIO = {"raw": 1, "gzip": 1032, "zlib": 1032, "bzip2": 1 << 16, "ascii": 8, "hex": 1}
_ZLIB_WINDOW = {"gzip": 31, "zlib": 47}
# Bytes after the last voxel that are decoded to reach the checksum; more are not what a header forgot to mention.
_LARGEST_REST = 1 << 26


class _Decompressor(Protocol):
    @property
    def unused_data(self) -> bytes: ...


def compression(start: bytes) -> str:
    """Return how a file is compressed whose first bytes are given: ``gzip``, ``bzip2`` or ``raw``."""
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    return "bzip2" if start.startswith(b"BZh") else "raw"


def decoded_start(path: Path, count: int) -> tuple[bytes, str]:
    """Return up to `count` decoded bytes from the start of a file, and how it is compressed.

    Raises:
        VolumeError: if it cannot be read or decoded.
    """
    try:
        with path.open("rb") as file:
            encoding = compression(file.read(4))
    except OSError as error:
        raise not_opened(path, error) from error
    start = bytearray()
    for block in _blocks(path, (Part(path),), encoding):
        start += block[: count - len(start)]
        if len(start) >= count:
            break
    return bytes(start), encoding


class VoxelStream:
    """The decoded bytes of a file's voxels, in order."""

    def __init__(self, source: VoxelFile) -> None:
        self._source = source
        self._blocks = _blocks(source.path, source.parts, source.encoding)
        self._block = memoryview(b"")
        self._found = 0
        self._skip(source.skip)

    def fill(self, target: memoryview) -> None:
        """Fill a buffer with the next bytes.

        Raises:
            VolumeError: if the file ends before, or is damaged.
        """
        position = 0
        while position < len(target):
            block = self._next(len(target) - position)
            target[position : position + len(block)] = block
            position += len(block)

    def finish(self) -> None:
        """Decode what follows the voxels, so that the checksum at the end is compared.

        Raises:
            VolumeError: if it differs, or far more follows than a header would leave out.
        """
        rest = len(self._block)
        if self._source.encoding == "raw":
            return
        for block in self._blocks:
            rest += len(block)
            if rest > _LARGEST_REST:
                raise damaged(self._source.path, "it holds far more voxels than its header says")

    def _skip(self, count: int) -> None:
        while count:
            count -= len(self._next(count))

    def _next(self, most: int) -> memoryview:
        while not self._block:
            block = next(self._blocks, None)
            if block is None:
                needed = self._source.skip + self._source.bytes
                raise cut_short(self._source.path, f"{self._found} of {needed} bytes")
            self._block = memoryview(block)
        taken, self._block = self._block[:most], self._block[most:]
        self._found += len(taken)
        return taken


def check_size(source: VoxelFile) -> None:
    """Compare what a header claims with the size of its files and with the memory, before anything is allocated.

    Raises:
        VolumeError: if the files cannot hold that much, or the memory cannot.
    """
    stored = 0
    for part in source.parts:
        try:
            stored += max(0, part.path.stat().st_size - part.offset)
        except OSError as error:
            raise not_opened(part.path, error) from error
    needed = source.skip + source.bytes
    if needed > stored * _LARGEST_RATIO[source.encoding]:
        raise cut_short(source.path, f"{stored} of {needed} bytes")
    check_memory(source.path, needed)


def check_memory(path: Path, needed: int) -> None:
    """Refuse what does not fit the free memory.

    Args:
        needed: bytes.

    Raises:
        VolumeError: naming both amounts.
    """
    free = free_memory()
    if needed > free.bytes:
        raise VolumeError(
            f"{path} holds {format_bytes(needed)} of voxels and {format_bytes(free.bytes)} of memory can be used "
            f"({free.limit}): crop or resample it first."
        )


def read_voxels(source: VoxelFile) -> np.ndarray:
    """Return the voxels (channel, z, y, x) of a file, in native byte order, with its scaling applied.

    Raises:
        VolumeError: if the file is cut short, damaged, or does not fit the memory.
    """
    check_size(source)
    if source.encoding in ("ascii", "hex"):
        array = _read_text(source)
    else:
        array = np.empty(source.shape, source.dtype)
        stream = VoxelStream(source)
        stream.fill(array.reshape(-1).view(np.uint8).data)
        stream.finish()
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    array = array[None] if source.channel_axis is None else np.moveaxis(array, source.channel_axis, 0)
    return scaled(array, source.slope, source.intercept)


def scaled(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return slope * array + intercept, computed in double precision.

    The result is in single precision where that tells neighbouring stored numbers apart, else in double precision.
    """
    if slope == 1 and intercept == 0:
        return array
    result = np.empty(array.shape, scaled_type(array.dtype, slope, intercept))
    for channel, target in zip(array, result, strict=True):
        for plane, rows in zip(channel, target, strict=True):
            rows[:] = plane * np.float64(slope) + intercept
    return result


def scaled_type(dtype: np.dtype, slope: float, intercept: float) -> type[np.floating]:
    """Return the floating-point type for numbers of an integer type that are scaled."""
    if dtype.kind not in "iu":
        return np.float32 if dtype.itemsize <= 4 else np.float64
    limits = np.iinfo(dtype)
    largest = max(abs(slope * limits.min + intercept), abs(slope * limits.max + intercept))
    return np.float32 if largest <= abs(slope) * 2.0**24 else np.float64


def _blocks(name: Path, parts: tuple[Part, ...], encoding: str) -> Iterator[bytes]:
    """Yield the decoded bytes of parts of files, block by block."""
    for part in parts:
        try:
            with part.path.open("rb") as file:
                file.seek(part.offset)
                if encoding == "raw":
                    while block := file.read(_DECODED):
                        yield block
                elif encoding == "bzip2":
                    yield from _bunzip(name, file)
                else:
                    yield from _inflate(name, file, _ZLIB_WINDOW[encoding])
        except OSError as error:
            raise not_opened(part.path, error) from error


def _inflate(name: Path, file: BinaryIO, window: int) -> Iterator[bytes]:
    """Yield what a zlib stream holds, or the members of a gzip file."""
    stored = file.read(_READ)
    while True:
        decoder = zlib.decompressobj(window)
        while not decoder.eof:
            if not stored:
                raise cut_short(name, "its compressed data end early")
            try:
                block = decoder.decompress(stored, _DECODED)
            except zlib.error as error:
                raise _bad_stream(name, error) from error
            stored = decoder.unconsumed_tail or (b"" if decoder.eof else file.read(_READ))
            if block:
                yield block
        stored = _after_member(decoder, file)
        if compression(stored) != "gzip":
            # Padding and signatures after the last member are no voxels.
            return


def _bunzip(name: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield what the streams of a bzip2 file hold."""
    stored = file.read(_READ)
    while True:
        decoder = bz2.BZ2Decompressor()
        while not decoder.eof:
            if not stored and decoder.needs_input:
                raise cut_short(name, "its compressed data end early")
            try:
                block = decoder.decompress(stored, _DECODED)
            except OSError as error:
                raise _bad_stream(name, error) from error
            stored = file.read(_READ) if decoder.needs_input and not decoder.eof else b""
            if block:
                yield block
        stored = _after_member(decoder, file)
        if compression(stored) != "bzip2":
            return


def _after_member(decoder: _Decompressor, file: BinaryIO) -> bytes:
    return decoder.unused_data or file.read(_READ)


def _bad_stream(name: Path, error: Exception) -> VolumeError:
    return VolumeError(f"{name} is damaged or cut short ({error}): copy or export it again.")


def _read_text(source: VoxelFile) -> np.ndarray:
    """Return voxels that are stored as numbers in text, or as hexadecimal digits."""
    content = b"".join(_blocks(source.path, source.parts, "raw"))
    try:
        if source.encoding == "hex":
            array = np.frombuffer(bytearray.fromhex(content.decode("ascii")), source.dtype)
        else:
            array = np.fromstring(content.decode("ascii"), source.dtype, sep=" ")
    except (ValueError, OverflowError) as error:
        raise damaged(source.path, "its voxels are not numbers in text") from error
    if array.size < source.count:
        raise cut_short(source.path, f"{array.size} of {source.count} voxels")
    return array[: source.count].reshape(source.shape)
