"""Shared by the batch's benchmarks: its inputs, its model, and its command."""

import sys
from pathlib import Path

import numpy as np
from measure import CHECKOUT, clean_environment

from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.files import write_volume
from NNMambaLib.volumes.volume import Volume


def make_cases(folder: Path, count: int, size: int) -> list[Path]:
    """Write `count` random volumes of size^3 voxels; return their paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"case{number:05}.nrrd" for number in range(count)]
    for number, path in enumerate(paths):
        voxels = np.random.default_rng(number).integers(0, 500, (1, size, size, size)).astype(np.int16)
        write_volume(Volume(voxels, np.diag([1.0, 1.2, 1.5, 1.0])), path)
    return paths


def make_model(folder: Path, width: int, patch: int):
    """Return a package with random weights of the published segmentation network."""
    manifest = random_manifest("segmentation", outputs=4, base_width=width, patch=(patch,) * 3)
    return write_random_package(folder, manifest)


def batch_command(inputs: Path, model: Path, output: Path, workers: int, threads: int) -> dict:
    """Return the arguments for `subprocess.Popen` of a batch."""
    program = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT / 'NNMamba')!r}); "
        "from NNMambaLib.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    options = ["--device", "cpu", "--workers", str(workers), "--threads-per-worker", str(threads)]
    command = ["batch", "segment", str(inputs), "--model", str(model), "--output", str(output), "--format", ".nrrd"]
    return {"args": [sys.executable, "-c", program, *command, *options], "env": clean_environment()}
