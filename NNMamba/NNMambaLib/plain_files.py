"""Reading files that come from outside: only what is a file, and no more of it than was stated beforehand."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from NNMambaLib.errors import NNMambaError, VolumeError
from NNMambaLib.runtime.units import format_bytes

# Of tables and of JSON: as Python's objects a byte of these takes up to two hundred, and up to forty.
MAX_TABLE_BYTES, MAX_JSON_BYTES = 4 * 2**20, 16 * 2**20


def check_plain(path: str | Path, error: type[NNMambaError] = VolumeError) -> int:
    """Return the bytes of a file that a library is to open, which is looked at and not opened here.

    Raises:
        NNMambaError: of the given type, naming the path, if it is missing, a folder, a pipe or a device.
    """
    with _naming(path, error):
        return _size(os.stat(path), path, error)


def read_bytes(path: str | Path, largest: int, error: type[NNMambaError] = VolumeError) -> bytes:
    """Return the content of a file.

    A pipe would be waited for, and a device such as /dev/zero has no end: they are not opened.

    Args:
        largest: bytes; a larger file is not read.
        error: what is raised.

    Raises:
        NNMambaError: of the given type, naming the path, if it is missing, a folder, a pipe or a device, has more than
            `largest` bytes, or cannot be opened.
    """
    size, content = check_plain(path, error), b""
    if size <= largest:
        # Another may have taken its place meanwhile: opened without waiting, and looked at again.
        with _naming(path, error), open(path, "rb", opener=_without_waiting) as file:
            _size(os.fstat(file.fileno()), path, error)
            content = file.read(largest + 1)
        # It may have grown, and files of the system's own state no size.
        size = len(content)
    if size > largest:
        raise error(
            f"{path} has more than {format_bytes(largest)}, which are the most that are read of such a file: give "
            "another, or a part of it."
        )
    return content


def read_text(path: str | Path, largest: int, error: type[NNMambaError] = VolumeError) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark; see `read_bytes`.

    Raises:
        NNMambaError: of the given type, as in `read_bytes`, and if it is not text in UTF-8.
    """
    try:
        return read_bytes(path, largest, error).decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(f"{path} is not text in UTF-8: save it again as UTF-8.") from cause


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def _naming(path: str | Path, error: type[NNMambaError]) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as cause:
        raise error(f"There is no file {path}: check the path.") from cause
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{path} cannot be opened ({reason}): check its name and permissions.") from cause


def _size(status: os.stat_result, path: str | Path, error: type[NNMambaError]) -> int:
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{path} is a folder: give a file.")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path} is a pipe or a device, not a file: save its content to a file first.")
    return status.st_size
