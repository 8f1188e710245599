"""What the commands that run a model have in common."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from NNMambaLib.commands.console import print_estimate, print_notices, progress_display
from NNMambaLib.networks.description import PRECISIONS

if TYPE_CHECKING:
    from NNMambaLib.engine import Engine


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
    """Add what the engine is made from."""
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
    parser.add_argument("--backend", default="auto", help="selective scan: auto (default), torch, numba, mamba-ssm")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of convolutions on the CPU: float32 (default), or bfloat16, which is faster and not exact",
    )
    parser.add_argument("--memory-limit", type=_positive, metavar="GIB", help="stay under this much memory")


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0 or math.isinf(value):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def add_tile_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what commands take that run a network tile by tile."""
    parser.add_argument("--step", type=float, default=0.5, help="distance of tiles, in patches (default 0.5)")
    parser.add_argument("--pad-small", action="store_true", help="run also where most of a patch would be padding")


def make_engine(arguments: argparse.Namespace) -> Engine:
    """Return the engine that the arguments ask for."""
    from NNMambaLib.engine import Engine

    limit = None if arguments.memory_limit is None else int(arguments.memory_limit * 2**30)
    return Engine(arguments.device, arguments.backend, limit, arguments.precision)


def run_job(
    arguments: argparse.Namespace,
    task: str,
    outputs: Sequence[str],
    **options,
) -> Any:
    """Run a task of the engine on the inputs, once it is sure that its outputs can be written; return its result.

    Args:
        task: ``segmentation``, ``landmarks`` or ``classification``.
        options: of the engine's method.
    """
    from NNMambaLib.files import check_writable
    from NNMambaLib.inference.memory_plan import available_bytes
    from NNMambaLib.models.catalogue import find_package
    from NNMambaLib.volumes.files import read_volume

    for name in outputs:
        check_writable(name, arguments.overwrite)
    engine = make_engine(arguments)
    package = find_package(arguments.model)
    package.require_task(task)
    volumes = [read_volume(path) for path in arguments.input]
    free = available_bytes(engine.device, engine.memory_limit)
    with progress_display() as show:
        result = engine.run(
            task, volumes, package, on_progress=show, on_estimate=lambda need: print_estimate(need, free), **options
        )
    print_notices(result.provenance.notices)
    return result
