"""Reading text, and writing files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from NNMambaLib.errors import OutputError, VolumeError


def check_writable(path: str | Path, overwrite: bool = False, option: str = "--overwrite") -> Path:
    """Return the path, once it is sure that a file can be made there.

    Args:
        overwrite: whether a file that exists may be replaced.
        option: the command line's option for that, which the message names.

    Raises:
        OutputError: if the folder is missing or not writable, the name is too long, or the file exists and must not be
            overwritten.
    """
    path = Path(path)
    try:
        exists = path.exists()
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): choose another name.") from error
    if exists and not overwrite:
        raise OutputError(f"{path} exists already: choose another name, or allow it to be overwritten ({option}).")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give the name of a file.")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"The folder {folder} does not exist: create it first.")
    # The very name that will be written to: a name that fits by itself may be too long with the addition.
    probe = _temporary(path)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"{path} cannot be written ({error.strerror}): choose a shorter name.") from error
        raise OutputError(f"The folder {folder} cannot be written to ({error.strerror}): choose another.") from error
    return path


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
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give the name of a temporary file in the same folder, which takes the path's place when the block succeeds.

    Raises:
        OutputError: if the file cannot be put in its place.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): check space and permissions.") from error
    finally:
        # A temporary file that cannot be removed must not hide why writing failed.
        with suppress(OSError):
            temporary.unlink()


def _temporary(path: Path) -> Path:
    # The path's whole name stays at the end: writers choose the format by it.
    return path.with_name(f".nnmamba-{os.getpid()}-{path.name}")


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        VolumeError: if it cannot be opened or is no text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise VolumeError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
    except UnicodeDecodeError as error:
        raise VolumeError(f"{path} is no text in UTF-8: save it again as such.") from error


def write_json(content: Any, path: str | Path) -> None:
    """Write JSON; the file appears whole or not at all.

    Raises:
        OutputError: if it cannot be written, or holds NaN or infinity, which JSON does not have.
    """
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise OutputError(f"{path} was not written: its numbers are not all finite ({error}).") from error
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
