"""What a header says about a file's voxels, and the bounds that every header is held to."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaLib.errors import VolumeError

# Voxels along one axis, and channels: far above any scanner, far below what overflows an integer.
LARGEST_SIZE = 1 << 17
LARGEST_CHANNELS = 1 << 12
# Bytes of a text header; those of segmentations hold a terminology entry for each segment.
LARGEST_HEADER = 1 << 24
_LARGEST_PARTS = 1 << 14
# A number in a pattern of file names, such as slice%03d.raw.
_NUMBER = re.compile(r"%0?[0-9]{0,2}d")


@dataclass(frozen=True)
class Part:
    """Bytes of a file, from an offset to its end."""

    path: Path
    offset: int = 0


@dataclass(frozen=True)
class VoxelFile:
    """The content of a header, checked.

    Attributes:
        path: the header's file.
        shape: the stored axes, slowest first, with the channels among them.
        channel_axis: the position of the channels in `shape`; None without such an axis.
        dtype: of a stored number, with its byte order.
        matrix: 4x4, voxel index (x, y, z) to LPS position in mm.
        parts: where the voxels are stored, one part after another.
        encoding: ``raw``, ``gzip``, ``zlib``, ``bzip2``, ``ascii`` or ``hex``.
        skip: decoded bytes before the first voxel.
        slope, intercept: a value is slope * stored + intercept.
        notices: what was assumed about the geometry.
    """

    path: Path
    shape: tuple[int, ...]
    channel_axis: int | None
    dtype: np.dtype
    matrix: np.ndarray
    parts: tuple[Part, ...]
    encoding: str = "raw"
    skip: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        channels = 1 if self.channel_axis is None else self.shape[self.channel_axis]
        if not all(1 <= size <= LARGEST_SIZE for size in self.shape) or channels > LARGEST_CHANNELS:
            sizes = " x ".join(str(size) for size in reversed(self.shape))
            raise damaged(self.path, f"it says that it holds {sizes} voxels")
        if not (np.isfinite(self.slope) and np.isfinite(self.intercept)) or self.slope == 0:
            raise damaged(self.path, f"it scales voxels by {self.slope:g} and adds {self.intercept:g}")

    @property
    def count(self) -> int:
        """Stored numbers."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def bytes(self) -> int:
        """Bytes of the voxels as stored, decoded."""
        return self.count * self.dtype.itemsize


def damaged(path: Path, reason: object) -> VolumeError:
    """Return the error for a file whose content contradicts itself."""
    return VolumeError(f"{path} cannot be read, it is damaged ({reason}): copy or export it again.")


def cut_short(path: Path, reason: object) -> VolumeError:
    """Return the error for a file that ends too early."""
    return VolumeError(f"{path} is cut short ({reason}): copy or export it again.")


def not_opened(path: Path, error: OSError) -> VolumeError:
    """Return the error for a file that the operating system does not open or read."""
    return VolumeError(f"{path} cannot be opened ({error.strerror or error}): check its name and permissions.")


def check_exists(path: Path) -> bool:
    """Tell whether a path is a folder; refuse what is missing, neither file nor folder, or cannot be opened.

    Raises:
        VolumeError: naming the path. Pipes and devices, which may have no end, are not opened.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            os.listdir(path)
            return True
        if not stat.S_ISREG(mode):
            raise VolumeError(f"{path} is a pipe or a device, not a file: save the volume to a file first.")
        path.open("rb").close()
        return False
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VolumeError(f"There is no file or folder {path}: check the path.") from error
    except (OSError, ValueError) as error:
        raise not_opened(path, error if isinstance(error, OSError) else OSError(str(error))) from error


def data_files(header: Path, value: str, listed: Sequence[str]) -> list[Path]:
    """Return the files that a header names for its voxels, which must lie in the header's folder.

    Args:
        value: of the field: a name, ``LIST``, or a pattern with first number, last number and step.
        listed: the lines after ``LIST``.

    Raises:
        VolumeError: if one lies elsewhere, is missing, or is not a file, or there are too many.
    """
    words = value.split()
    if words[:1] == ["LIST"]:
        names = list(listed)
    elif len(words) >= 4 and _NUMBER.search(words[0]):
        first, last, step = integers(header, "data file", words[1:4], 3)
        numbered = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
        names = [_NUMBER.sub(lambda found, n=number: found[0] % n, words[0], 1) for number in numbered[:_LARGEST_PARTS]]
    else:
        names = [value] if value else []
    if not 1 <= len(names) < _LARGEST_PARTS:
        raise damaged(header, f"it names {len(names)} data files")
    return [_data_file(header, name.strip()) for name in names]


def _data_file(header: Path, name: str) -> Path:
    folder, shown = header.parent, printable(name)
    try:
        path = (folder / name).resolve()
        inside, exists = path.is_relative_to(folder.resolve()), path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise damaged(header, f"it names the data file {shown}") from error
    if not inside:
        raise VolumeError(
            f"{header} takes its voxels from {shown}, which is outside of its folder: copy that file beside it and "
            "name it without a folder."
        )
    if not exists:
        raise VolumeError(
            f"{header} takes its voxels from {shown}, which is missing: copy that file into the same folder."
        )
    if check_exists(path):
        raise damaged(header, f"its data file {shown} is a folder")
    return folder / name


def check_dimensions(path: Path, axes: int) -> None:
    """Refuse an image that does not have three spatial axes.

    Raises:
        VolumeError: naming the file.
    """
    if axes != 3:
        remedy = "give a 3-D volume" if axes < 3 else "save the wanted 3-D volume by itself"
        raise VolumeError(f"{path.name} has {axes} dimensions where three are needed: {remedy}.")


def numbers(path: Path, field: str, words: Sequence[str], count: int) -> list[float]:
    """Return the numbers of a header's field.

    Raises:
        VolumeError: if there are others than `count`, or one is not a number.
    """
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise damaged(path, f"{field} holds {' '.join(words)[:60]!r}") from error
    if len(values) != count:
        raise damaged(path, f"{field} holds {len(values)} numbers where {count} are needed")
    return values


def printable(text: str) -> str:
    """Return the start of a text from a file, in characters that a message can hold."""
    return ascii(text[:80])[1:-1]


def plain_number(value: float) -> str:
    """Return the shortest text that gives the same number back, with a decimal point in every locale."""
    return repr(float(value)).removesuffix(".0")


def integers(path: Path, field: str, words: Sequence[str], count: int) -> list[int]:
    """Return the whole numbers of a header's field.

    Raises:
        VolumeError: if there are others than `count`, or one is not a whole number, or beyond 64 bits.
    """
    values = numbers(path, field, words, count)
    if not all(abs(value) < 2**63 and value.is_integer() for value in values):
        raise damaged(path, f"{field} holds {' '.join(words)[:60]!r}")
    return [int(value) for value in values]
