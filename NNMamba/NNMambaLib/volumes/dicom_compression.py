"""Compressed pixel data of DICOM images, decoded by GDCM through SimpleITK.

Source: DICOM PS3.5 A.4 (encapsulated pixel data), PS3.10 (files).
"""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.runtime.leftovers import PLAIN, temporary_prefix
from NNMambaLib.volumes.dicom_header import PIXEL_DATA, reason
from NNMambaLib.volumes.voxel_file import damaged, printable

# JPEG, JPEG-LS, JPEG 2000, and run lengths.
_COMPRESSED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")


@dataclass(frozen=True)
class Compressed:
    """The compressed pixel data of an image, and what its header says of them.

    Attributes:
        path: of the image, for messages.
        content: the pixel data as they are stored, encapsulated.
        shape: rows and columns.
        stored_type: of a decoded number.
        bits_stored, high_bit: of a stored number.
    """

    path: Path
    content: bytes
    transfer_syntax: str
    shape: tuple[int, int]
    stored_type: np.dtype
    bits_stored: int
    high_bit: int


def decompressed(image: Compressed) -> np.ndarray:
    """Return the stored numbers (row, column), decoded by SimpleITK from a file without a modality LUT.

    Raises:
        VolumeError: if the compression is unknown, or the pixel data are damaged.
    """
    import SimpleITK as sitk

    if not image.transfer_syntax.startswith(_COMPRESSED):
        raise VolumeError(
            f"{image.path} has the transfer syntax {printable(image.transfer_syntax)}, which cannot be read: convert "
            "the series to NRRD."
        )
    with tempfile.TemporaryDirectory(prefix=temporary_prefix(PLAIN)) as folder:
        path = Path(folder) / "slice.dcm"
        try:
            path.write_bytes(_plain_file(image, _fragments(image.content)))
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
        except Exception as error:
            # GDCM fails in many ways on damaged streams.
            raise damaged(image.path, f"its compressed pixels, {reason(error)}") from error
    if array.size != image.shape[0] * image.shape[1]:
        raise damaged(image.path, "its compressed pixels have another size than its header says")
    return array.reshape(image.shape)


def _plain_file(image: Compressed, fragments: bytes) -> bytes:
    """Return a DICOM file of an image's pixels alone (PS3.10, explicit value representations, little endian)."""
    capture, instance = b"1.2.840.10008.5.1.4.1.1.7", b"1.2.3"
    bits = 8 * image.stored_type.itemsize
    meta = (
        _element(0x00020002, b"UI", capture)
        + _element(0x00020003, b"UI", instance)
        + _element(0x00020010, b"UI", image.transfer_syntax.encode("ascii", "replace"))
    )
    numbers = (
        (0x00280010, image.shape[0]), (0x00280011, image.shape[1]), (0x00280100, bits), (0x00280101, image.bits_stored),
        (0x00280102, image.high_bit), (0x00280103, int(image.stored_type.kind == "i")),
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
        + struct.pack("<HH2sHI", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF, b"OB", 0, 0xFFFFFFFF)
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
