import os
import sys
from contextlib import nullcontext

import pytest
import torch

from helpers.warm_python import warm_python


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors gain nothing from threads, and threads that wait for each other on a busy machine cost seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def launcher_folder(tmp_path_factory):
    """A folder with an interpreter for the engine that starts at once; without one where processes cannot be forked."""
    folder = tmp_path_factory.mktemp("launcher")
    with warm_python(folder) if hasattr(os, "fork") else nullcontext():
        yield folder


@pytest.fixture(scope="session")
def quick_python(launcher_folder):
    """The program that runs the engine in a process of its own, and starts at once where processes can be forked."""
    program = launcher_folder / "PythonSlicer"
    return str(program) if program.exists() else sys.executable
