"""Seconds by stage and peak memory of whole segmentations: a large CT, and a head at 1 mm.

    python Testing/Benchmarks/end_to_end.py --width 32 --step 0.5 --threads 2

Each in a process of its own, which reads a synthetic volume and runs the engine with random weights as a script would
(``peak_memory.py``). Memory above the input is the largest resident memory, Python and its packages included, less the
input's voxels. `--width` and `--step` are the large volume's, to bound its time; the other has width 32, step 0.5.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import peak_memory
from measure import GIB, format_seconds, in_fresh_process
from part import Check, Goal, Part, main, make_parser

MEMORY, SECONDS, TILES = 3.0, 30.0, 18
_SPACING = (1.0, 1.0, 1.0)


def segment(case: argparse.Namespace) -> dict:
    """Return what `peak_memory.segment` does, measured in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        volume, model = peak_memory.prepare(Path(folder), case)
        how = ("--step", case.step, "--threads", case.threads)
        return in_fresh_process(peak_memory.__file__, "--segment", volume, model, *how)


def case(size, labels: int, width: int, patch: int, step: float, threads: int) -> argparse.Namespace:
    return argparse.Namespace(
        size=size, spacing=_SPACING, model_spacing=None, labels=labels, width=width, patch=patch, step=step,
        threads=threads,
    )  # fmt: skip


def tiles(case: argparse.Namespace) -> int:
    from NNMambaLib.inference.sliding_window import Tiling

    return Tiling.plan(tuple(reversed(case.size)), (case.patch,) * 3, case.step).count


def measure(options: argparse.Namespace) -> Part:
    cases = [
        case(options.size, 16, options.width, options.patch, options.step, options.threads),
        case(options.head_size, 14, 32, options.patch, 0.5, options.threads),
    ]
    rows, goals, data, notes = [], [], {}, []
    found_labels = True
    for number, one in enumerate(cases):
        found = segment(one)
        name = f"{' x '.join(map(str, one.size))}, {one.labels} classes"
        seconds, count = found["seconds"], tiles(one)
        above = (found["peak"] - found["input"]) / GIB
        network = f"width {one.width}, {count} tiles of {one.patch}^3, {one.step:g} apart"
        stages = "; ".join(f"{stage}: {format_seconds(s)}" for stage, s in seconds.items() if stage != "total")
        while_run = (found["peak"] - found["before"]) / GIB
        rows.append(
            [name, network, f"{seconds['total']:.1f}", stages, f"{above:.2f}", f"{while_run:.2f}"]
        )  # fmt: skip
        notes += [f"{name}: {notice}" for notice in found["notices"]]
        found_labels = found_labels and found["labels"] > 1
        if number == 0:
            goals.append(Goal(f"{name}: peak memory above the input", above, MEMORY, "GiB", at_most=True))
        else:
            per_tiles = seconds["total"] * TILES / count
            goals.append(Goal(f"{name}: the whole run for {TILES} tiles", per_tiles, SECONDS, "s", at_most=True))
        data[name] = {**found, "tiles": count}
    return Part(
        "end_to_end",
        "Whole segmentations",
        "Synthetic int16 volumes at the model's spacing, SEG-CSS with random weights, as a script runs the engine; "
        "each once, in a process of its own. Memory above the input includes Python and its packages.",
        ["volume", "network", "seconds", "of which", "GiB above the input", "GiB above the loaded process"],
        rows,
        goals,
        [Check("More than one label was found in each volume", found_labels)],
        notes,
        data,
    )


if __name__ == "__main__":
    parser = make_parser(__doc__)
    xyz = {"type": int, "nargs": 3, "metavar": ("X", "Y", "Z")}
    parser.add_argument("--size", default=(512, 512, 300), help="voxels of the large volume (512 512 300)", **xyz)
    parser.add_argument("--head-size", default=(256, 256, 180), help="voxels of the other (256 256 180)", **xyz)
    parser.add_argument("--width", type=int, default=32, help="channels after the stem, for the large volume (32)")
    parser.add_argument("--step", type=float, default=0.5, help="of its tiles, in patches (0.5)")
    parser.add_argument("--patch", type=int, default=128, help="voxels along each axis (128)")
    sys.exit(main(parser.parse_args(), measure))
