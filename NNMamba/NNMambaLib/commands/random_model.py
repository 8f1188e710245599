"""``nnmamba random-model``: a package with random weights, for tests and benchmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

from NNMambaLib.errors import OutputError


def add_parser(commands) -> None:
    parser = commands.add_parser("random-model", help="write a package with random weights, for tests and benchmarks")
    parser.add_argument("task", choices=["segmentation", "landmarks", "classification"])
    parser.add_argument("--variant", help="such as SEG-CSS, V1-SEG, CLS (default: the published one for the task)")
    parser.add_argument("--outputs", type=int, default=4, help="labels with background, landmarks or classes (4)")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--width", type=int, default=32, help="channels after the stem (32)")
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 64, 64), metavar=("X", "Y", "Z"))
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.0, 1.0, 1.0), metavar=("X", "Y", "Z"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    from NNMambaLib.models.random_package import random_manifest, write_random_package

    folder = Path(arguments.output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists already and is not an empty folder: choose another name.")
    manifest = random_manifest(
        arguments.task,
        arguments.variant,
        arguments.outputs,
        arguments.width,
        arguments.channels,
        arguments.patch,
        arguments.spacing,
    )
    package = write_random_package(folder, manifest, arguments.seed)
    print(f"Wrote {package.path} ({manifest.network.variant}, random weights, seed {arguments.seed}).")
    return {"outputs": [str(package.path)], "sha256": package.sha256}
