"""Seconds against size: segmenting volumes of five sizes, and the scan alone over five lengths.

    python Testing/Benchmarks/linearity.py --width 8 --threads 2

A method is linear where the slope is 1 in logarithms of both. Volumes are cubes of noise that a random SEG-CSS segments
in tiles side by side, so that there are as many tiles as the volume has patches; from reading its tiles to the labels
on its own grid, nothing is left out. Prints Markdown tables.
"""

import argparse
import sys
import tempfile

import numpy as np
import torch
from measure import Contestant, Times, format_seconds, take_times
from part import Goal, Part, main, make_parser
from scan import NUMBA, TORCH, Inputs, prepare, scans

from NNMambaLib.engine import Engine
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.volume import Volume

# A slope above this is not linear: in five sizes that span a factor of 16 it is half as much again.
STEEPEST = 1.15


def slope(sizes: list[float], seconds: list[float]) -> float:
    """Return the exponent of a power of the size that fits the seconds best."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def time_volumes(options: argparse.Namespace) -> dict[str, Times]:
    """Return {voxels along an edge: times of segmenting the cube}."""
    patch = (options.patch,) * 3
    manifest = random_manifest("segmentation", "SEG-CSS", options.labels, options.width, patch=patch)
    with tempfile.TemporaryDirectory() as folder:
        package = write_random_package(folder, manifest)
        engine = Engine("cpu")

        def segment(edge: int):
            noise = np.random.default_rng(0).integers(0, 1000, (1, edge, edge, edge), dtype=np.int16)
            volume = Volume(noise, np.eye(4))
            return lambda: engine.segment(volume, package, step=options.step).labels

        small = segment(options.patch)
        edges = [options.patch * count for count in options.patches]
        return take_times({str(edge): Contestant(segment(edge), small) for edge in edges}, options.volume_repeats)[0]


@torch.inference_mode()
def time_scans(options: argparse.Namespace) -> tuple[dict[str, dict[int, Times]], list[str]]:
    """Return {scan: {length: times}}, and notes on scans that cannot be run."""
    available, notes = scans()
    contestants = {}
    for length in options.lengths:
        inputs = Inputs(1, length, options.channels, 16)
        for name in (TORCH, NUMBA):
            if name in available:
                contestants[name, length] = Contestant(prepare(name, inputs))
    times, _ = take_times(contestants, options.repeats)
    found = {}
    for (name, length), taken in times.items():
        found.setdefault(name, {})[length] = taken
    return found, notes


def measure(options: argparse.Namespace) -> Part:
    volumes = time_volumes(options)
    scanned, notes = time_scans(options)
    rows, series, goals = [], {}, []

    def add(what: str, unit: str, sizes: list[int], times: list[Times], label: str) -> None:
        seconds = [taken.median for taken in times]
        fitted = slope(sizes, seconds)
        rows.extend(
            [what, f"{size:,} {unit}", format_seconds(taken.median), taken.spread, f"{1e9 * taken.median / size:.0f}"]
            for size, taken in zip(sizes, times, strict=True)
        )
        series[label] = {"sizes": sizes, "seconds": seconds, "slope": fitted, "unit": unit}
        goals.append(Goal(f"{what}: exponent of the size in the seconds", fitted, STEEPEST, "", at_most=True))

    edges = [int(edge) for edge in volumes]
    add("Engine.segment", "voxels", [edge**3 for edge in edges], list(volumes.values()), "Engine.segment")
    for name, lengths in scanned.items():
        add(name, "tokens", list(lengths), list(lengths.values()), name)
    return Part(
        "linearity",
        "Seconds against size",
        f"Cubes of int16 segmented into {options.labels} classes by SEG-CSS of width {options.width}, tiles of "
        f"{options.patch}^3 voxels, {options.step:g} of that apart, median of {options.volume_repeats} after a run on "
        f"one patch; the scan alone with E = {options.channels}, N = 16, median of {options.repeats}.",
        ["", "size", "seconds", "fastest to slowest", "ns a voxel or token"],
        rows,
        goals,
        notes=notes,
        data=series,
    )


if __name__ == "__main__":
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--width", type=int, default=8, help="channels after the stem (8)")
    parser.add_argument("--labels", type=int, default=14, help="with background (14)")
    parser.add_argument("--patch", type=int, default=64, help="voxels along each axis (64)")
    parser.add_argument("--patches", type=int, nargs="+", default=[2, 3, 4, 5, 6], help="along an edge (2 3 4 5 6)")
    parser.add_argument("--step", type=float, default=1.0, help="distance of tiles, in patches (1)")
    parser.add_argument("--volume-repeats", type=int, default=3, help="timed runs of each volume (3)")
    parser.add_argument("--channels", type=int, default=256, help="of the scan, E (256)")
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[4096, 8192, 16384, 32768, 65536], help="4096 8192 ... 65536"
    )
    sys.exit(main(parser.parse_args(), measure))
