"""Reading text, and writing files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from NNMambaLib.errors import NNMambaError, OutputError, VolumeError
from NNMambaLib.runtime.leftovers import temporary_prefix

# Names that were free when `check_writable` looked: a file that appears there meanwhile is another's.
_found_free: set[str] = set()
# What file systems without hard links answer.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def check_name(path: str | Path, error: type[NNMambaError]) -> None:
    """Refuse a name that is not UTF-8, such as those of old archives, which reports and messages cannot hold.

    Raises:
        NNMambaError: of the given type.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as cause:
        name = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        raise error(f"{name} is not a name in UTF-8: rename it, or give another.") from cause


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
        _new_temporary(path).unlink()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"{path} cannot be written ({error.strerror}): choose a shorter name.") from error
        raise OutputError(f"The folder {folder} cannot be written to ({error.strerror}): choose another.") from error
    if overwrite:
        _found_free.discard(_place(path))
    else:
        _found_free.add(_place(path))
    return path


def same_file(first: str | Path, second: str | Path) -> bool:
    """Tell whether two paths name one file, or would if it existed, whatever links and spellings they use."""
    with suppress(OSError, ValueError):
        if os.path.samefile(first, second):
            return True
    with suppress(OSError, ValueError):
        # One that does not exist yet is known by its folder.
        a, b = Path(first).absolute(), Path(second).absolute()
        names = (a.resolve(), b.resolve())
        if names[0] == names[1]:
            return True
        exists = a.exists() or b.exists()
        folded = names[0].name.casefold() == names[1].name.casefold()
        return folded and not exists and os.path.samefile(names[0].parent, names[1].parent) and _folds_case(a.parent)
    return False


def make_folder(path: str | Path) -> Path:
    """Return the path of a folder, which is made if need be.

    Raises:
        OutputError: if it cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be made ({error.strerror}): choose another.") from error
    return path


@contextmanager
def atomic_file(path: str | Path, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Give the name of a temporary file in the same folder, which takes the path's place when the block succeeds.

    The file is flushed to the disk first and must not be empty: some libraries report no failed write.

    Args:
        check: is given the temporary file before it takes its place, and raises if it is not what was to be written.

    Raises:
        OutputError: if the file cannot be put in its place, or another has appeared there since `check_writable`.
    """
    path = Path(path)
    temporary = None
    try:
        temporary = _new_temporary(path)
        yield temporary
        _flush(temporary, path)
        if check is not None:
            check(temporary)
        _put_in_place(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path} cannot be written ({reason}): check space and permissions.") from error
    finally:
        # A temporary file that cannot be removed must not hide why writing failed.
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        VolumeError: if it cannot be opened or is not text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise VolumeError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
    except UnicodeDecodeError as error:
        raise VolumeError(f"{path} is not text in UTF-8: save it again as UTF-8.") from error


def write_text(text: str, path: str | Path) -> None:
    """Write text in UTF-8; the file appears whole, read back and compared, or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    # JSON reads what stands for a lone surrogate back as that.
    content = text.encode("utf-8", "backslashreplace")

    def check(temporary: Path) -> None:
        if temporary.read_bytes() != content:
            raise OSError(errno.EIO, "what was read back differs")

    with atomic_file(path, check) as temporary:
        temporary.write_bytes(content)


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


def _new_temporary(path: Path) -> Path:
    """Make a file of a name that cannot be guessed, which is not there yet, and return its path.

    The path's whole name stays at the end: writers choose the format by it. Unlike that of `tempfile`, the file has the
    permissions that other new files have.
    """
    name = f"{temporary_prefix()}{secrets.token_hex(4)}-{path.name}"
    temporary = path.with_name(name)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o666))
    return temporary


def _flush(temporary: Path, path: Path) -> None:
    descriptor = os.open(temporary, os.O_RDWR)
    try:
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if size == 0 or not _is_whole(temporary):
        reason = "a part is missing" if size else "the file stayed empty"
        raise OutputError(f"{path} cannot be written ({reason}): check space and permissions.")


def _is_whole(path: Path) -> bool:
    """Whether a file holds all that its kind ends with: libraries for pictures and archives report no failed write."""
    if path.suffix.lower() == ".png":
        return _is_whole_png(path)
    if path.suffix.lower() in (".mrb", ".zip"):
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


def _put_in_place(temporary: Path, path: Path) -> None:
    if _place(path) not in _found_free:
        os.replace(temporary, path)
        return
    _found_free.discard(_place(path))
    try:
        if os.name == "nt":
            # There, renaming never replaces.
            os.rename(temporary, path)
            return
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            os.replace(temporary, path)
    except FileExistsError as error:
        raise OutputError(
            f"{path} has appeared while the job ran and was kept: choose another name, or allow it to be overwritten "
            "(--overwrite)."
        ) from error


def _place(path: Path) -> str:
    return os.path.join(os.path.realpath(path.parent), path.name)


def _folds_case(folder: Path) -> bool:
    """Whether names in a folder that differ in case alone are one file."""
    swapped = folder.with_name(folder.name.swapcase())
    return swapped != folder and swapped.exists()
