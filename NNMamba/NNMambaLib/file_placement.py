"""Files that were written under temporary names take their places: those of one job together, or none of them."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from NNMambaLib.errors import OutputError
from NNMambaLib.runtime.leftovers import temporary_prefix

# What file systems without hard links answer, and those that cannot flush a folder.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)
_NO_FLUSH = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM)
# Where a file that appears is another's and is not replaced, each place with the option that would allow it.
_expected_free: dict[str, str] = {}


def temporary_name(path: Path) -> Path:
    """Return a name beside a path, which cannot be guessed and says whose it is."""
    return path.with_name(f"{temporary_prefix()}{secrets.token_hex(4)}-{path.name}")


def new_temporary(path: Path) -> Path:
    """Make a file beside a path, of a name that cannot be guessed, and return its path.

    The path's whole name stays at the end: writers choose the format by it. Unlike that of `tempfile`, the file has the
    permissions that other new files have.
    """
    temporary = temporary_name(path)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o666))
    return temporary


def expect_free(path: Path, option: str | None) -> None:
    """Note that a path is free, so that a file which appears there before ours is another's and must be kept.

    Args:
        option: the command line's that would allow to overwrite it; None where that is allowed.
    """
    if option is None:
        _expected_free.pop(place_of(path), None)
    else:
        _expected_free[place_of(path)] = option


def place_of(path: Path) -> str:
    """Return a path's absolute form, in which links of folders are followed and one of the file itself is not."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def flush_file(path: Path) -> int:
    """Have a file written to the disk; return its size in bytes."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def flush_files(folder: Path) -> None:
    """Have a folder's files and their names written to the disk."""
    for path in sorted(folder.iterdir()):
        flush_file(path)
    flush_folder(folder)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk, where the system can."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise


def put_in_place(files: Iterable[tuple[Path | None, Path]]) -> None:
    """Rename complete files; if one cannot be, those before it are removed again and the earlier files put back.

    Each rename is atomic, and all of them follow each other at once; file systems offer no more for several files. The
    folders' names are on the disk afterwards.

    Args:
        files: (temporary path, path), in the order in which they are to appear; None for a path where no file is to be.

    Raises:
        OutputError: if one cannot be put in its place, or another file has appeared there.
    """
    moves = [_Move(temporary, path) for temporary, path in files]
    path = Path()
    try:
        for move in moves if len(moves) > 1 else ():
            path = move.path
            move.keep_earlier()
        for move in moves:
            path = move.path
            move.make()
        for path in {move.path.parent: move.path for move in moves}.values():
            flush_folder(path.parent)
    except BaseException as error:
        lost = [text for move in reversed(moves) if (text := move.undo())]
        if isinstance(error, OSError):
            raise OutputError(_sentence(path, error, len(moves) > 1, lost)) from error
        if isinstance(error, OutputError) and lost:
            raise OutputError(f"{error} Furthermore, {'; '.join(lost)}.") from error
        raise
    for move in moves:
        expect_free(move.path, None)
        move.forget_earlier()


@dataclass
class _Move:
    """A file on its way; `earlier` is where the one that it replaces is kept meanwhile."""

    temporary: Path | None
    path: Path
    earlier: Path | None = None

    def __post_init__(self):
        self._free = place_of(self.path) in _expected_free
        self._was_there = os.path.lexists(self.path)
        self._identity = None if self.temporary is None else _identity(self.temporary)
        self._done = False

    def keep_earlier(self) -> None:
        """Give the file that is there a second name, or where the file system has no such thing, a copy."""
        if self._free or not self._was_there or (self.path.is_dir() and not self.path.is_symlink()):
            return
        self.earlier = temporary_name(self.path)
        try:
            if self.path.is_symlink():
                os.symlink(os.readlink(self.path), self.earlier)
            else:
                os.link(self.path, self.earlier)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copy2(self.path, self.earlier, follow_symlinks=False)

    def make(self) -> None:
        if self.temporary is None:
            self.path.unlink(missing_ok=True)
        elif self._free:
            self._make_new(self.temporary)
        else:
            os.replace(self.temporary, self.path)
        self._done = True

    def _make_new(self, temporary: Path) -> None:
        try:
            if os.name == "nt":
                # There, renaming never replaces.
                os.rename(temporary, self.path)
                return
            try:
                os.link(temporary, self.path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                try:
                    os.replace(temporary, self.path)
                except BaseException:
                    self.path.unlink()
                    raise
        except FileExistsError as error:
            raise OutputError(
                f"{self.path} has appeared while the job ran and was kept: choose another name, or allow it to be "
                f"overwritten ({_expected_free[place_of(self.path)]})."
            ) from error

    def undo(self) -> str:
        """Put back what was there; return where it is if that fails, else nothing."""
        if not self._was_made():
            self.forget_earlier()
        elif self.earlier is not None:
            try:
                os.replace(self.earlier, self.path)
            except OSError:
                return self._rescue()
        elif self._free or not self._was_there:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        return ""

    def _was_made(self) -> bool:
        """Whether the path holds what it was to hold: an interruption may have come before `make` noted it."""
        if self.temporary is None:
            return self._was_there and not os.path.lexists(self.path)
        return self._done or (self._identity is not None and _identity(self.path) == self._identity)

    def _rescue(self) -> str:
        """Give the earlier file a name that no clearing of temporary files takes; return what it is called."""
        assert self.earlier is not None
        rescued = self.path.with_name(f"{self.path.name}.before-{secrets.token_hex(4)}")
        with suppress(OSError):
            os.replace(self.earlier, rescued)
            self.earlier = rescued
        return f"the earlier {self.path} is now {self.earlier}"

    def forget_earlier(self) -> None:
        if self.earlier is not None:
            with suppress(OSError):
                self.earlier.unlink()


def _sentence(path: Path, error: OSError, several: bool, lost: list[str]) -> str:
    undone = ", and nothing that belongs with it was" if several else ""
    where = f" ({'; '.join(lost)})" if lost else ""
    return f"{path} cannot be written ({error.strerror or error}){undone}: check space and permissions{where}."


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others, whatever its name; None where there is none, or no file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None
