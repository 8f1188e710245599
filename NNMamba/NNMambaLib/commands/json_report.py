"""The machine-readable report of a command (``--json FILE``)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from NNMambaLib.errors import OutputError
from NNMambaLib.file_names import same_file
from NNMambaLib.files import check_writable, write_json


def check_report(arguments: argparse.Namespace) -> None:
    """Refuse a report in a file that is an input or another output, exists, or cannot be made.

    Raises:
        OutputError: naming the file.
    """
    if arguments.json is not None:
        _check_differs(arguments.json, [*_outputs(arguments), *_inputs(arguments)])
        if "overwrite_report" in arguments:
            # Of a command whose --overwrite removes more than a file.
            check_writable(arguments.json, arguments.overwrite_report, "--overwrite-report")
        else:
            check_writable(arguments.json, arguments.overwrite)


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse an output in a file that is an input or another output.

    Raises:
        OutputError: naming the file.
    """
    outputs = _outputs(arguments)
    for index, name in enumerate(outputs):
        _check_differs(name, [*outputs[:index], *_inputs(arguments)])


def write_report(arguments: argparse.Namespace, report: dict[str, Any], success: bool = True) -> None:
    """Write what a command reports, where a file for it was asked for.

    Raises:
        OutputError: if it cannot be written.
    """
    if arguments.json is not None:
        write_json({"command": arguments.command, "success": success, **report}, arguments.json)


def output_folders(arguments: argparse.Namespace) -> set[Path]:
    """Return the folders that a command writes files to."""
    paths = [Path(name) for name in (*_outputs(arguments), arguments.json) if name]
    # Unlike Path.is_dir, this takes names that are too long for the file system: the command itself refuses them.
    return {path if os.path.isdir(path) else path.parent for path in paths}


def _outputs(arguments: argparse.Namespace) -> list[str]:
    named = (getattr(arguments, option, None) for option in getattr(arguments, "files", ("output",)))
    return [name for name in named if name]


def _inputs(arguments: argparse.Namespace) -> list[str]:
    named = (getattr(arguments, option, None) for option in ("prediction", "reference"))
    return [*getattr(arguments, "input", ()), *(str(name) for name in named if name)]


def _check_differs(name: str, others: list[str]) -> None:
    if any(same_file(name, other) for other in others):
        raise OutputError(f"{name} is asked for twice: give each input and output a file of its own.")
