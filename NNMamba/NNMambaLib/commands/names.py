"""Names of files that libraries cannot take."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from NNMambaLib.errors import OutputError
from NNMambaLib.file_names import check_name, check_names_within

# Arguments whose folders are read.
_FOLDERS = ("input", "data", "prediction", "reference")


def check_names(arguments: argparse.Namespace) -> None:
    """Refuse arguments, and names in folders that are to be read, that are not UTF-8, before anything is loaded.

    Raises:
        OutputError: naming the first.
    """
    for value in _texts(vars(arguments).values()):
        check_name(value, OutputError)
    for folder in _texts(getattr(arguments, name, None) for name in _FOLDERS):
        check_names_within(folder, OutputError)


def _texts(values) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _texts(value)
