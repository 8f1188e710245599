"""The commands' parser, and what is common to running them: checks before, a report after."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from NNMambaLib import __version__
from NNMambaLib.commands import (
    batch,
    benchmark,
    demo,
    evaluate,
    info,
    models,
    random_model,
    run_model,
    train,
)
from NNMambaLib.commands.json_report import check_outputs, check_report, output_folders, write_report
from NNMambaLib.commands.names import check_names
from NNMambaLib.errors import BatchError, NNMambaError
from NNMambaLib.runtime.leftovers import remove_leftovers
from NNMambaLib.runtime.openmp import limit_spinning
from NNMambaLib.runtime.signals import INTERRUPTED

_COMMANDS = (batch, train, evaluate, models, info, benchmark, demo, random_model)
_SUCCESS, _FAILURE = 0, 1


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code, 0 only where it succeeded.

    A command's `run` returns its report, or None where it has written that together with its other files.
    """
    arguments = _parser().parse_args(argv)
    limit_spinning()
    try:
        check_names(arguments)
        check_report(arguments)
    except NNMambaError as error:
        print(f"nnmamba: {error}", file=sys.stderr)
        return _FAILURE
    try:
        for folder in output_folders(arguments):
            remove_leftovers(folder)
        check_outputs(arguments)
        report = arguments.run(arguments)
        if report is not None:
            write_report(arguments, report)
        return _SUCCESS
    except BatchError as error:
        return _fail(arguments, str(error), error.exit_code, error.report)
    except NNMambaError as error:
        return _fail(arguments, str(error), _FAILURE)
    except KeyboardInterrupt:
        return _fail(arguments, "Interrupted: what was not complete was not written.", INTERRUPTED)


def _fail(arguments: argparse.Namespace, message: str, code: int, report: dict | None = None) -> int:
    """Say why a command failed, and report it where that can be written; return the exit code."""
    print(f"nnmamba: {message}", file=sys.stderr)
    try:
        write_report(arguments, {"error": message, **(report or {})}, success=False)
    except NNMambaError as error:
        if str(error) != message:
            print(f"nnmamba: {error}", file=sys.stderr)
        return _FAILURE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnmamba",
        description="nnMamba for 3D medical volumes: segmentation, landmarks, classification. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"nnmamba {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    run_model.add_parsers(commands)
    for command in _COMMANDS:
        command.add_parser(commands)
    for name, subparser in commands.choices.items():
        for leaf in _leaves(subparser):
            leaf.add_argument("--json", metavar="FILE", help=f"write a machine-readable report of {name}")
            if "--overwrite" not in leaf._option_string_actions:
                leaf.add_argument("--overwrite", action="store_true", help="replace the report if it exists")
    return parser


def _leaves(parser: argparse.ArgumentParser):
    """Yield the parsers that have no commands of their own below them."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for child in action.choices.values():
            yield from _leaves(child)
