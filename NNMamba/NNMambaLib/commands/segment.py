"""``nnmamba segment``: a volume to labels."""

from __future__ import annotations

import argparse

from NNMambaLib.commands.arguments import add_job_arguments, add_tile_arguments, run_job
from NNMambaLib.commands.console import print_notices, print_table


def add_parser(commands) -> None:
    parser = commands.add_parser("segment", help="segment a volume")
    add_job_arguments(parser)
    add_tile_arguments(parser)
    parser.add_argument("--output", required=True, metavar="FILE", help="labels: .nii.gz, .nrrd, .seg.nrrd")
    parser.add_argument("--probabilities", metavar="FILE", help="also write each label's probability, as channels")
    parser.add_argument(
        "--uncertainty",
        "--entropy",
        metavar="FILE",
        help="also write the uncertainty, the entropy of the probabilities, 0 (certain) to 1",
    )
    parser.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="average over mirrored copies: slower, a little more exact (default: no)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    from NNMambaLib.export.segmentation_file import provenance_metadata, without_shear, write_segmentation
    from NNMambaLib.volumes.files import check_format, write_volume

    files = [name for name in (arguments.output, arguments.probabilities, arguments.uncertainty) if name]
    for name in files:
        check_format(name)
    found = run_job(
        arguments,
        "segmentation",
        files,
        probabilities=arguments.probabilities is not None,
        uncertainty=arguments.uncertainty is not None,
        mirror=arguments.mirror,
        step=arguments.step,
        pad_small=arguments.pad_small,
    )
    result = without_shear(found)
    print_notices(result.provenance.notices[len(found.provenance.notices) :])
    provenance = provenance_metadata(result.provenance)
    write_segmentation(result, arguments.output)
    if result.probabilities is not None:
        write_volume(result.probabilities, arguments.probabilities, provenance)
    if result.uncertainty is not None:
        write_volume(result.uncertainty, arguments.uncertainty, provenance)
    print_table(["label", "volume"], [[name, f"{ml:.1f} mL"] for name, ml in result.volumes_ml.items()])
    print(f"Wrote {', '.join(files)} in {result.provenance.seconds['total']:.1f} s.")
    return {"outputs": files, "volumes_ml": result.volumes_ml, "provenance": result.provenance.as_dict()}
