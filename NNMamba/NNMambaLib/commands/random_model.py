"""``nnmamba random-model``: a package with random weights, for tests and benchmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

from NNMambaLib.commands.json_report import write_report
from NNMambaLib.errors import ModelError, OutputError
from NNMambaLib.files import files_together
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models import limits
from NNMambaLib.networks.description import SIZE_DIVISOR


def add_parser(commands) -> None:
    parser = commands.add_parser("random-model", help="write a package with random weights, for tests and benchmarks")
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--variant", help="such as SEG-CSS, V1-SEG, CLS (default: the published one for the task)")
    parser.add_argument("--outputs", type=int, default=4, help="labels with background, landmarks or classes (4)")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--width", type=int, default=32, help="channels after the stem (32)")
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 64, 64), metavar=("X", "Y", "Z"))
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.0, 1.0, 1.0), metavar=("X", "Y", "Z"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from NNMambaLib.support.random_package import random_manifest, write_random_package

    _check(arguments)
    folder = Path(arguments.output)
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}): choose another name.") from error
    if taken:
        raise OutputError(f"{folder} exists already and is not an empty folder: choose another name.")
    manifest = random_manifest(
        arguments.task,
        arguments.variant,
        arguments.outputs,
        arguments.width,
        arguments.channels,
        tuple(arguments.patch),
        tuple(arguments.spacing),
    )
    with files_together():
        package = write_random_package(folder, manifest, arguments.seed)
        write_report(arguments, {"outputs": [str(package.path)], "sha256": package.sha256})
    print(f"Wrote {package.path} ({manifest.network.variant}, random weights, seed {arguments.seed}).")


def _check(arguments: argparse.Namespace) -> None:
    fewest = TASKS[arguments.task].fewest_outputs
    patch, spacing = (" ".join(f"{n:g}" for n in given) for given in (arguments.patch, arguments.spacing))
    for option, given, right, needed in (
        ("--width", arguments.width, 1 <= arguments.width <= limits.MAX_BASE_WIDTH, f"1 to {limits.MAX_BASE_WIDTH}"),
        (
            "--channels",
            arguments.channels,
            1 <= arguments.channels <= limits.MAX_CHANNELS,
            f"1 to {limits.MAX_CHANNELS}",
        ),
        (
            "--outputs",
            arguments.outputs,
            fewest <= arguments.outputs <= limits.MAX_OUTPUTS,
            f"at least {fewest} for {arguments.task}, and at most {limits.MAX_OUTPUTS}",
        ),
        (
            "--patch",
            patch,
            all(0 < size <= limits.MAX_SIZE and size % SIZE_DIVISOR == 0 for size in arguments.patch),
            f"three multiples of {SIZE_DIVISOR} up to {limits.MAX_SIZE}",
        ),
        (
            "--spacing",
            spacing,
            all(limits.MIN_SPACING <= step <= limits.MAX_SPACING for step in arguments.spacing),
            f"three lengths of {limits.MIN_SPACING:g} to {limits.MAX_SPACING:g} mm",
        ),
        ("--seed", arguments.seed, 0 <= arguments.seed < 2**63, "at least 0 and below 2^63"),
    ):
        if not right:
            raise ModelError(f"{option} is {given} and must be {needed}.")
