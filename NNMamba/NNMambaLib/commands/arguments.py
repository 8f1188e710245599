"""Arguments that the commands share, and the engine made from them."""

from __future__ import annotations

import argparse


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that runs a model takes."""
    parser.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help="a volume (NRRD, NIfTI, MetaImage, or a folder with one DICOM series); for a model with several channels "
        "one volume each, in the model's order",
    )
    parser.add_argument("--model", required=True, help="name of an installed model, or path of a package")
    parser.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    add_engine_arguments(parser)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
    parser.add_argument("--backend", default="auto", help="selective scan: auto (default), torch, numba, mamba-ssm")
    parser.add_argument("--memory-limit", type=float, metavar="GIB", help="stay under this much memory")


def add_tile_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what commands take that run a network tile by tile."""
    parser.add_argument("--step", type=float, default=0.5, help="distance of tiles, in patches (default 0.5)")
    parser.add_argument("--pad-small", action="store_true", help="run also where most of a patch would be padding")


def make_engine(arguments: argparse.Namespace):
    """Return the engine that the arguments ask for."""
    from NNMambaLib.engine import Engine

    limit = None if arguments.memory_limit is None else int(arguments.memory_limit * 2**30)
    return Engine(arguments.device, arguments.backend, limit)
