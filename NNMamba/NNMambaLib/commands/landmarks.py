"""``nnmamba landmarks``: a volume to anatomical landmarks."""

from __future__ import annotations

import argparse

from NNMambaLib.commands.arguments import add_job_arguments, add_tile_arguments, run_job
from NNMambaLib.commands.console import print_table
from NNMambaLib.errors import OutputError


def add_parser(commands) -> None:
    parser = commands.add_parser("landmarks", help="find anatomical landmarks in a volume")
    add_job_arguments(parser)
    add_tile_arguments(parser)
    parser.add_argument("--output", required=True, metavar="FILE.mrk.json", help="Slicer markups")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    from NNMambaLib.export.markups_file import write_markups

    if not arguments.output.endswith(".mrk.json"):
        raise OutputError(f"{arguments.output} must end in .mrk.json, Slicer's format of markups.")
    result = run_job(
        arguments,
        "landmarks",
        [arguments.output],
        step=arguments.step,
        pad_small=arguments.pad_small,
    )
    write_markups(result, arguments.output)
    rows = [
        [
            landmark.name,
            "  ".join(f"{value:.1f}" for value in landmark.position) if landmark.found else "not found",
            f"{landmark.confidence:.2f}",
        ]
        for landmark in result.landmarks
    ]
    print_table(["landmark", "position LPS mm", "confidence"], rows)
    print(f"Wrote {arguments.output} in {result.provenance.seconds['total']:.1f} s.")
    found = [
        {"name": m.name, "position_lps": m.position, "confidence": m.confidence, "found": m.found}
        for m in result.landmarks
    ]
    return {"outputs": [arguments.output], "landmarks": found, "provenance": result.provenance.as_dict()}
