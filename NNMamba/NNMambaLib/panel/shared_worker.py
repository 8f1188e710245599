"""The one worker of the whole of Slicer."""

from __future__ import annotations

import shutil
import sys

import qt
import slicer

from NNMambaLib.panel.qt_transport import QtTransport
from NNMambaLib.worker.client import IDLE_SECONDS, WorkerClient

IDLE_SETTING = "NNMamba/IdleMinutes"
_client: WorkerClient | None = None


def shared_worker() -> WorkerClient:
    """Return the client of the worker that all panels share; its process starts with the first job."""
    global _client
    if _client is None:
        # In Slicer, Python's own program is the application; PythonSlicer is its interpreter.
        python = shutil.which("PythonSlicer") or sys.executable
        _client = WorkerClient(QtTransport(), idle_seconds(), python)
        # Later, and Qt has gone already.
        slicer.app.connect("aboutToQuit()", close_shared_worker)
    return _client


def close_shared_worker() -> None:
    """End the worker, if there is one, and remove its files."""
    global _client
    if _client is not None:
        _client.close()
        _client = None


def idle_seconds() -> float:
    """Return after how long without work the worker ends, as the user set it."""
    return 60 * float(qt.QSettings().value(IDLE_SETTING, IDLE_SECONDS / 60))


def set_idle_minutes(minutes: float) -> None:
    """Keep after how many minutes without work the worker ends; it holds for the next worker that starts."""
    qt.QSettings().setValue(IDLE_SETTING, minutes)
    if _client is not None:
        _client.idle_seconds = 60 * minutes
