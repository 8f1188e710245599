"""``nnmamba classify``: a volume to class probabilities."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from NNMambaLib.commands.arguments import add_job_arguments, run_job
from NNMambaLib.commands.console import print_table
from NNMambaLib.errors import OutputError
from NNMambaLib.files import write_json


def add_parser(commands) -> None:
    parser = commands.add_parser("classify", help="classify a volume")
    add_job_arguments(parser)
    parser.add_argument("--output", required=True, metavar="FILE.json", help="probabilities and provenance")
    parser.add_argument("--explain", metavar="QUESTION", help="find which regions speak for its answer")
    parser.add_argument("--explanation", metavar="FILE", help="also write these regions, as a volume: .nii.gz, .nrrd")
    parser.add_argument("--page", metavar="FILE.html", help="also write a page with answers, slices and explanation")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    from NNMambaLib.export.classification_report import write_report
    from NNMambaLib.volumes.files import check_format, read_volume

    _check_names(arguments)
    if arguments.explanation:
        check_format(arguments.explanation)
    files = [name for name in (arguments.output, arguments.explanation, arguments.page) if name]
    result = run_job(arguments, "classification", files, explain=arguments.explain)
    write_json(result.as_dict(), arguments.output)
    if arguments.explanation:
        _write_explanation(result, arguments.explanation)
    if arguments.page:
        write_report(arguments.page, result, read_volume(arguments.input[0]))
    rows = [
        [prediction.target, name, f"{p:.3f}", "predicted" if name == prediction.predicted else ""]
        for prediction in result.predictions
        for name, p in prediction.probabilities.items()
    ]
    print_table(["target", "class", "probability", ""], rows)
    print(result.research_use)
    print(f"Wrote {', '.join(files)} in {result.provenance.seconds['total']:.1f} s.")
    predictions = [asdict(prediction) for prediction in result.predictions]
    return {"outputs": files, "predictions": predictions, "provenance": result.provenance.as_dict()}


def _check_names(arguments: argparse.Namespace) -> None:
    for name, ending in ((arguments.output, ".json"), (arguments.page, ".html")):
        if name and not name.endswith(ending):
            raise OutputError(f"{name} must end in {ending}.")
    if arguments.explanation and not arguments.explain:
        raise OutputError(f"{arguments.explanation} needs a question to explain: name one with --explain.")


def _write_explanation(result, path: str) -> None:
    from NNMambaLib.export.segmentation_file import provenance_metadata
    from NNMambaLib.volumes.files import write_volume
    from NNMambaLib.volumes.resampling import rectangular_grid, resample

    volume = result.explanation.volume
    if volume.grid.sheared:
        # Files cannot hold the axes of a tilted gantry.
        volume = resample(volume, rectangular_grid(volume.grid), outside=0.0)
    write_volume(volume, path, provenance_metadata(result.provenance))
