"""A family of inputs whose reader has a fault for every guard: the number of the input chooses it."""

import os
import signal
import tempfile
import time
from pathlib import Path

from NNMambaLib.errors import VolumeError

FAULTS = ("read", "refused", "traceback", "hang", "memory", "crash", "leftover", "changed")


def seeds(folder):
    for number, fault in enumerate(FAULTS):
        (folder / str(number)).mkdir()
        (folder / str(number) / fault).write_bytes(b"Lines of text 12 that are changed\n" * 20)


def feed(folder):
    (path,) = folder.iterdir()
    # The seeds themselves are read; all changed ones meet the fault.
    if path.read_bytes() != b"Lines of text 12 that are changed\n" * 20:
        globals().get(f"_{path.name}", lambda path: None)(path)


def _refused(path):
    raise VolumeError(f"{path} is refused: give another.")


def _traceback(path):
    raise KeyError(path)


def _hang(path):
    time.sleep(60)


def _memory(path):
    assert len(b"1" * (300 * 2**20)) > 0


def _crash(path):
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def _leftover(path):
    Path(tempfile.gettempdir(), "half").write_bytes(b"half")


def _changed(path):
    path.write_bytes(b"other")
