"""``nnmamba classify``: a volume to class probabilities."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from NNMambaLib.commands.console import print_table
from NNMambaLib.commands.job import add_job_arguments, run_job
from NNMambaLib.commands.report import write_json
from NNMambaLib.errors import OutputError


def add_parser(commands) -> None:
    parser = commands.add_parser("classify", help="classify a volume")
    add_job_arguments(parser)
    parser.add_argument("--output", required=True, metavar="FILE.json", help="probabilities and provenance")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    if not arguments.output.endswith(".json"):
        raise OutputError(f"{arguments.output} must end in .json.")
    result = run_job(arguments, "classification", [arguments.output])
    write_json(result.as_dict(), arguments.output)
    rows = [
        [prediction.target, name, f"{p:.3f}", "predicted" if name == prediction.predicted else ""]
        for prediction in result.predictions
        for name, p in prediction.probabilities.items()
    ]
    print_table(["target", "class", "probability", ""], rows)
    print(result.research_use)
    print(f"Wrote {arguments.output} in {result.provenance.seconds['total']:.1f} s.")
    predictions = [asdict(prediction) for prediction in result.predictions]
    return {"outputs": [arguments.output], "predictions": predictions, "provenance": result.provenance.as_dict()}
