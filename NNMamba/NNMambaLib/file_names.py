"""Names of files: which cannot be used, and which stand for one file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from NNMambaLib.errors import NNMambaError


def check_name(path: str | Path, error: type[NNMambaError]) -> None:
    """Refuse a name that is not UTF-8, such as those of old archives: ITK ends the process for them, and reports and
    messages cannot hold them.

    Raises:
        NNMambaError: of the given type, with the bytes that are not.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        # The bytes of the file system's name, where it came from there.
        shown = text.encode("utf-8", "surrogateescape" if _has_bytes(text) else "backslashreplace")
        shown = shown.decode("utf-8", "backslashreplace")
        raise error(f"The name {shown} is not UTF-8: rename it, or give another.") from cause


def check_names_within(folder: str | Path, error: type[NNMambaError]) -> None:
    """Refuse a folder's name and, if it exists, the names in it and in all folders below; see `check_name`."""
    check_name(folder, error)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            check_name(os.path.join(parent, name), error)


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


def _has_bytes(text: str) -> bool:
    """Return whether all that cannot be encoded stands for bytes, as Python reads them from the file system."""
    return not any("\ud800" <= letter < "\udc80" or "\udcff" < letter <= "\udfff" for letter in text)


def _folds_case(folder: Path) -> bool:
    """Whether names in a folder that differ in case alone are one file."""
    swapped = folder.with_name(folder.name.swapcase())
    return swapped != folder and swapped.exists()
