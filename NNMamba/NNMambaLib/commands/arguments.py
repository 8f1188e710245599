"""The engine's arguments, which all commands that run a model have."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from NNMambaLib.networks.description import PRECISIONS

if TYPE_CHECKING:
    from NNMambaLib.engine import Engine

# GiB: a pebibyte, which no machine has.
_MAX_MEMORY = 2**20


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
    if not 0 < value <= _MAX_MEMORY:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and up to {_MAX_MEMORY:,} GiB")
    return value


def make_engine(arguments: argparse.Namespace) -> Engine:
    """Return the engine that the arguments ask for."""
    from NNMambaLib.engine import Engine

    limit = None if arguments.memory_limit is None else int(arguments.memory_limit * 2**30)
    return Engine(arguments.device, arguments.backend, limit, arguments.precision)
