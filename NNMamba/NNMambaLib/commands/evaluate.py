"""``nnmamba evaluate``: predictions against references."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from NNMambaLib.commands.console import print_table
from NNMambaLib.commands.json_report import write_report
from NNMambaLib.errors import ModelError
from NNMambaLib.files import check_writable, files_together, write_json
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models.catalogue import find_package

_NEEDED = ("monai", "sklearn", "scipy")


def add_parser(commands) -> None:
    parser = commands.add_parser("evaluate", help="compare predictions with references")
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--prediction", required=True, metavar="DIR", help="label volumes, .mrk.json or .json files")
    parser.add_argument("--reference", required=True, metavar="DIR", help="the same cases; for classes a CSV file with "
                        "the column case and one a target, or class")  # fmt: skip
    parser.add_argument("--output", required=True, metavar="FILE.json", help="all figures, case by case")
    parser.add_argument("--tolerance", type=float, default=1.0, help="of the surface distance, mm (default 1)")
    parser.add_argument("--model", help="take the labels' names from this model")
    parser.add_argument("--plot", metavar="FILE.png", help="of reliability, for classes")
    parser.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    parser.set_defaults(run=run, files=("output", "plot"))


def run(arguments: argparse.Namespace) -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ModelError(f"Evaluation needs {', '.join(missing)}: install nnmamba with the extra evaluate.")

    check_writable(arguments.output, arguments.overwrite)
    if arguments.plot:
        check_writable(arguments.plot, arguments.overwrite)
    names = {}
    if arguments.model:
        names = {label.value: label.name for label in find_package(arguments.model).manifest.labels}
    result = TASKS[arguments.task].evaluate(arguments.prediction, arguments.reference, arguments.tolerance, names)
    outputs = [arguments.output]
    with files_together():
        write_json(result.content, arguments.output)
        if arguments.plot and result.plot is not None:
            result.plot(arguments.plot)
            outputs.append(arguments.plot)
        write_report(arguments, {"outputs": outputs, **result.content})
    print_table(result.header, result.rows)
    if result.footnote:
        print(result.footnote)
    print(f"Wrote {', '.join(outputs)}.")
