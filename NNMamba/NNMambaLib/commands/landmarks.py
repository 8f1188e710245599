"""``nnmamba landmarks``: a volume to anatomical landmarks."""

from __future__ import annotations

import argparse

from NNMambaLib.commands.arguments import add_job_arguments, add_tile_arguments, make_engine
from NNMambaLib.commands.console import print_estimate, print_notices, print_table, progress_display
from NNMambaLib.errors import OutputError


def add_parser(commands) -> None:
    parser = commands.add_parser("landmarks", help="find anatomical landmarks in a volume")
    add_job_arguments(parser)
    add_tile_arguments(parser)
    parser.add_argument("--output", required=True, metavar="FILE.mrk.json", help="Slicer markups")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    from NNMambaLib.markups_json import write_markups
    from NNMambaLib.output import check_writable
    from NNMambaLib.volume_io import read_channels

    if not arguments.output.endswith(".mrk.json"):
        raise OutputError(f"{arguments.output} must end in .mrk.json, Slicer's format of markups.")
    check_writable(arguments.output, arguments.overwrite)
    engine = make_engine(arguments)
    volume, notices = read_channels(arguments.input)
    print_notices(notices)
    print_estimate(engine, volume, arguments.model)
    with progress_display() as show:
        result = engine.detect_landmarks(
            volume, arguments.model, step=arguments.step, pad_small=arguments.pad_small, on_progress=show
        )
    write_markups(result, arguments.output)
    print_notices(result.provenance.notices)
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
