"""The one worker that panels and scripts in Slicer share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import slicer

from NNMambaLib.runtime.child_python import find_program
from NNMambaLib.worker.client import IDLE_SECONDS, WorkerClient
from NNMambaLib.worker.subprocess_transport import SubprocessTransport

IDLE_SETTING = "NNMamba/IdleMinutes"


class _Shared(NamedTuple):
    client: WorkerClient
    pump: Callable[[float], None]


_shared: _Shared | None = None


def shared_worker() -> WorkerClient:
    """Return the client of the shared worker, whose process starts with the first job."""
    return _share().client


def pump_events(seconds: float) -> None:
    """Let the shared worker's jobs proceed, for at most so many seconds where nothing happens.

    In Slicer the user's clicks and keys wait; see `QtTransport.pump`.
    """
    _share().pump(seconds)


def close_shared_worker() -> None:
    """End the worker, if there is one, and remove its files."""
    global _shared
    if _shared is not None:
        _shared.client.close()
        _shared = None


def idle_seconds() -> float:
    """Return after how long without work the worker ends, as the user set it."""
    settings = _settings()
    return IDLE_SECONDS if settings is None else 60 * float(settings.value(IDLE_SETTING, IDLE_SECONDS / 60))


def set_idle_minutes(minutes: float) -> None:
    """Set after how many minutes without work the worker ends; takes effect with the next worker that starts."""
    settings = _settings()
    if settings is not None:
        settings.setValue(IDLE_SETTING, minutes)
    if _shared is not None:
        _shared.client.idle_seconds = 60 * minutes


def _share() -> _Shared:
    global _shared
    if _shared is None:
        # In Slicer, sys.executable is the application; PythonSlicer is its interpreter.
        python = find_program("PythonSlicer") or sys.executable
        if _has_application():
            from NNMambaLib.panel.qt_transport import QtTransport

            transport = QtTransport()
            # Later than this signal, Qt is gone.
            slicer.app.connect("aboutToQuit()", close_shared_worker)
        else:
            transport = SubprocessTransport()
        _shared = _Shared(WorkerClient(transport, idle_seconds(), python), transport.pump)
    return _shared


def _has_application() -> bool:
    """Return whether this is the application, and not Slicer's libraries alone, which have no event loop."""
    return hasattr(slicer, "app")


def _settings() -> Any | None:
    """Return the application's settings, None where there is no application."""
    if not _has_application():
        return None
    import qt

    return qt.QSettings()
