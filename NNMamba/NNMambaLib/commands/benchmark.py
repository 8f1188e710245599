"""``nnmamba benchmark``: how long a model takes on this machine."""

from __future__ import annotations

import argparse
import math

from NNMambaLib.commands.arguments import add_engine_arguments, make_engine
from NNMambaLib.commands.console import print_notices, print_table, progress_display
from NNMambaLib.models.catalogue import find_package

_MODEL = "brain-structures"


def add_parser(commands) -> None:
    parser = commands.add_parser("benchmark", help="seconds that a model takes on this machine, for a volume")
    parser.add_argument("--model", default=_MODEL, help=f"name of a model, or path of a package (default {_MODEL})")
    parser.add_argument(
        "--size", type=_count, nargs=3, default=(256, 256, 180), metavar=("X", "Y", "Z"), help="voxels (256 256 180)"
    )
    parser.add_argument(
        "--spacing", type=_length, nargs=3, default=(1.0, 1.0, 1.0), metavar=("X", "Y", "Z"), help="mm (1 1 1)"
    )
    parser.add_argument("--step", type=float, default=0.5, help="distance of tiles, in patches (default 0.5)")
    parser.add_argument("--threads", type=_count, help="on the CPU (default: all cores)")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    import torch

    from NNMambaLib.networks.scan.selective_scan import resolve_backend
    from NNMambaLib.support.speed import measure_speed

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    engine = make_engine(arguments)
    package = find_package(arguments.model)
    manifest = package.manifest
    with progress_display() as show:
        sizes = tuple(arguments.size), tuple(arguments.spacing)
        speed = measure_speed(engine, package, *sizes, arguments.step, on_progress=show)
    print_notices(speed.notices)

    backend = resolve_backend(engine.backend, engine.device)
    patch, size = (" x ".join(map(str, sizes)) for sizes in (manifest.input.patch, arguments.size))
    spacing = " x ".join(f"{length:g}" for length in arguments.spacing)
    fastest, slowest, tiles = min(speed.tile_seconds), max(speed.tile_seconds), len(speed.tile_seconds)
    print(
        f"{manifest.name} {manifest.version} on {engine.device}, {torch.get_num_threads()} thread(s), "
        f"scan in {backend}, {engine.precision}"
    )
    print(
        f"A patch of {patch} voxels: {speed.median:.3f} s (median of {tiles}; {fastest:.3f} to {slowest:.3f} s)\n"
        f"A volume of {size} voxels, {spacing} mm: {speed.tiles} patch(es)\n"
    )
    rows = [[stage.name, f"{stage.seconds:.1f}", _how(stage.estimated)] for stage in speed.stages]
    rows.append(["In all", f"{speed.total:.1f}", _how(any(stage.estimated for stage in speed.stages))])
    if speed.mirrored_total is not None:
        rows.append([f"In all with --mirror ({speed.flips} flips)", f"{speed.mirrored_total:.1f}", _how(True)])
    print_table(["stage", "seconds", ""], rows)
    print(
        f"\nThe first patch of this process took {speed.starting_seconds:.1f} s more: kernels are compiled once on a "
        "machine, and loaded once in a process."
    )
    if speed.mirrored_total is None and speed.mirrors:
        print("The model does not allow mirroring.")
    return {
        "model": manifest.name,
        "model_version": manifest.version,
        "device": str(engine.device),
        "threads": torch.get_num_threads(),
        "scan_backend": backend,
        "precision": engine.precision,
        "patch": list(manifest.input.patch),
        "patch_seconds": {"median": speed.median, "min": fastest, "max": slowest, "count": tiles},
        "size": list(arguments.size),
        "spacing": list(arguments.spacing),
        "step": arguments.step,
        "patches": speed.tiles,
        "starting_seconds": speed.starting_seconds,
        "stages": [
            {"name": stage.name, "seconds": stage.seconds, "estimated": stage.estimated} for stage in speed.stages
        ],
        "seconds": speed.total,
        "seconds_mirrored": speed.mirrored_total,
        "notices": list(speed.notices),
    }


def _how(estimated: bool) -> str:
    return "estimated" if estimated else "measured"


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def _length(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a length above 0 mm")
    return value
