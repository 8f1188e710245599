"""Small inputs and a tiny model for batches, and their command in a process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import NNMambaLib
from NNMambaLib.volumes.files import write_volume
from NNMambaLib.volumes.volume import Volume

LIBRARY = str(Path(NNMambaLib.__file__).parents[1])


def write_input(path, seed):
    """Write a random volume of 16^3 voxels."""
    array = np.random.default_rng(seed).integers(0, 500, (1, 16, 16, 16)).astype(np.int16)
    write_volume(Volume(array, np.diag([1.0, 1.0, 1.25, 1.0])), path)


def log_of(output, name):
    """Return the text of a case's log."""
    return (Path(output) / "cases" / name / "case.log").read_text(encoding="utf-8")


def command(inputs, model, output, *more):
    """Return the arguments of a batch on one thread."""
    return ["batch", "segment", str(inputs), "--model", str(model.path), "--output", str(output), "--device", "cpu",
            "--backend", "torch", "--threads-per-worker", "1", *more]  # fmt: skip


def start(arguments, poison=None):
    """Start the command in a process; `poison` is a folder that its children import a `sitecustomize` from."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [poison and str(poison), LIBRARY]))}
    # SIGINT is ignored where this process was started in the background of a shell.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from NNMambaLib.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
