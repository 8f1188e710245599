"""Names of files that libraries cannot take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from NNMambaLib.errors import OutputError

# Arguments whose folders are read.
_FOLDERS = ("input", "data", "prediction", "reference")


def check_names(arguments: argparse.Namespace) -> None:
    """Refuse arguments, and names in folders that are to be read, that are not UTF-8: ITK ends the process for them.

    Raises:
        OutputError: naming the first, with the bytes that are not.
    """
    for value in _texts(vars(arguments).values()):
        _check(value)
    for folder in _texts(getattr(arguments, name, None) for name in _FOLDERS):
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                _check(os.path.join(parent, name))


def _texts(values) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _texts(value)


def _check(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # The bytes of the file system's name, where it came from there.
        shown = text.encode("utf-8", "surrogateescape" if _has_bytes(text) else "backslashreplace")
        shown = shown.decode("utf-8", "backslashreplace")
        raise OutputError(f"The name {shown} is not UTF-8: rename it, and give the new name.") from error


def _has_bytes(text: str) -> bool:
    """Return whether all that cannot be encoded stands for bytes, as Python reads them from the file system."""
    return not any("\ud800" <= letter < "\udc80" or "\udcff" < letter <= "\udfff" for letter in text)
