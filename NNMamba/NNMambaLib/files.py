"""Writing files that appear whole or not at all."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from NNMambaLib.errors import OutputError
from NNMambaLib.file_names import check_name
from NNMambaLib.file_placement import (
    expect_free,
    flush_file,
    flush_files,
    flush_folder,
    new_temporary,
    place_of,
    put_in_place,
    temporary_name,
)

# (temporary path, path) of the files that are to appear together, by their place; None for one that is to go.
_together: ContextVar[dict[str, tuple[Path | None, Path]] | None] = ContextVar("files of one job", default=None)


def check_writable(path: str | Path, overwrite: bool = False, option: str = "--overwrite") -> Path:
    """Return the path, once it is sure that a file can be made there.

    Without `overwrite`, the next `atomic_file` of this path refuses to replace a file that has appeared by then.

    Args:
        overwrite: whether a file that exists may be replaced.
        option: the command line's option for that, which the message names.

    Raises:
        OutputError: if the folder is missing or not writable, the name is too long, or the file exists and must not be
            overwritten.
    """
    check_name(path, OutputError)
    path = Path(path)
    try:
        exists = os.path.lexists(path)
        path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be written ({reason}): choose another name.") from error
    if exists and not overwrite:
        raise OutputError(f"{path} exists already: choose another name, or allow it to be overwritten ({option}).")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give the name of a file.")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is a pipe or a device: give the name of a file.")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"The folder {folder} does not exist: create it first.")
    # The very name that will be written to: a name that fits by itself may be too long with the addition.
    try:
        new_temporary(path).unlink()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"{path} cannot be written ({error.strerror}): choose a shorter name.") from error
        raise OutputError(f"The folder {folder} cannot be written to ({error.strerror}): choose another.") from error
    expect_free(path, None if overwrite else option)
    return path


def make_folder(path: str | Path) -> Path:
    """Return the path of a folder, which is made if need be.

    Raises:
        OutputError: if it cannot be made.
    """
    check_name(path, OutputError)
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be made ({error.strerror}): choose another.") from error
    return path


@contextmanager
def atomic_file(path: str | Path, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Give the name of a temporary file in the same folder, which takes the path's place when the block succeeds.

    Within `files_together` it does so at the end of that. The file is flushed to the disk first and must not be empty:
    some libraries report no failed write.

    Args:
        check: is given the temporary file before it takes its place, and raises if it is not what was to be written.

    Raises:
        OutputError: if the file cannot be put in its place, or another has appeared there since `check_writable`.
    """
    check_name(path, OutputError)
    path = Path(path)
    temporary = None
    try:
        temporary = new_temporary(path)
        yield temporary
        _check_whole(temporary, path)
        if check is not None:
            check(temporary)
        temporary = _place(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path} cannot be written ({reason}): check space and permissions.") from error
    finally:
        if temporary is not None:
            _remove(temporary)


@contextmanager
def files_together() -> Iterator[None]:
    """Let all files that are written within the block appear at its end, one right after the other, or none of them.

    Each is written, flushed to the disk and checked under a temporary name before the first takes its place. A block
    within another belongs to that.

    Raises:
        OutputError: if one cannot be put in its place; what was there before is there again.
    """
    if _together.get() is not None:
        yield
        return
    files: dict[str, tuple[Path | None, Path]] = {}
    token = _together.set(files)
    try:
        yield
        put_in_place(files.values())
    finally:
        _together.reset(token)
        for temporary, _ in files.values():
            if temporary is not None:
                _remove(temporary)


def remove_file(path: Path) -> None:
    """Remove a file if there is one; within `files_together` at the end of that, together with the others.

    Raises:
        OutputError: if it cannot be removed.
    """
    left = _place(None, path)
    if left is not None:
        _remove(left)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a new folder beside a path at which nothing is; it takes that place once its files are on the disk.

    Raises:
        OutputError: if it cannot be made, flushed or renamed.
    """
    check_name(path, OutputError)
    path = Path(path)
    temporary = temporary_name(path)
    try:
        temporary.mkdir()
        yield temporary
        flush_files(temporary)
        os.rename(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path} cannot be written ({reason}): check space and permissions.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(text: str, path: str | Path) -> None:
    """Write text in UTF-8; the file appears whole, read back and compared, or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    # JSON reads what stands for a lone surrogate back as that.
    write_bytes(text.encode("utf-8", "backslashreplace"), path)


def write_bytes(content: bytes, path: str | Path) -> None:
    """Write bytes; the file appears whole, read back and compared, or not at all.

    Raises:
        OutputError: if it cannot be written, or there is nothing to write.
    """

    def check(temporary: Path) -> None:
        if temporary.read_bytes() != content:
            raise OSError(errno.EIO, "what was read back differs")

    with atomic_file(path, check) as temporary:
        temporary.write_bytes(content)


def write_table(rows: Iterable[Iterable[Any]], path: str | Path) -> None:
    """Write rows of cells in CSV; the file appears whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    table = io.StringIO()
    csv.writer(table).writerows(rows)
    write_text(table.getvalue(), path)


def write_json(content: Any, path: str | Path) -> None:
    """Write JSON; the file appears whole or not at all.

    Raises:
        OutputError: if it cannot be written, or holds NaN or infinity, which JSON does not have.
    """
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise OutputError(f"{path} was not written: its numbers are not all finite ({error}).") from error
    write_text(text + "\n", path)


def _place(temporary: Path | None, path: Path) -> Path | None:
    """Put a complete file in its place, now or at the end of `files_together`; return a temporary file to be removed.

    Args:
        temporary: the file; None where the path's is to be removed.
    """
    others = _together.get()
    if others is None:
        put_in_place([(temporary, path)])
        return temporary
    earlier, _ = others.pop(place_of(path), (None, path))
    others[place_of(path)] = temporary, path
    return earlier


def _remove(temporary: Path) -> None:
    # A temporary file that cannot be removed must not hide why writing failed.
    with suppress(OSError):
        temporary.unlink()


def _check_whole(temporary: Path, path: Path) -> None:
    size = flush_file(temporary)
    if size == 0 or not _is_whole(temporary):
        reason = "a part is missing" if size else "the file stayed empty"
        raise OutputError(f"{path} cannot be written ({reason}): check space and permissions.")


def _is_whole(path: Path) -> bool:
    """Whether a file holds all that its kind ends with: libraries for pictures and archives report no failed write."""
    if path.suffix.lower() == ".png":
        return _is_whole_png(path)
    if path.suffix.lower() in (".mrb", ".pt", ".zip"):
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
        except (zipfile.BadZipFile, zlib.error, EOFError):
            return False
    return True


def _is_whole_png(path: Path) -> bool:
    content = path.read_bytes()
    position, kind = 8, b""
    while position + 12 <= len(content):
        length, kind = int.from_bytes(content[position : position + 4]), content[position + 4 : position + 8]
        end = position + 8 + length
        if zlib.crc32(content[position + 4 : end]) != int.from_bytes(content[end : end + 4]):
            return False
        position = end + 4
    return kind == b"IEND" and content.startswith(b"\x89PNG")
