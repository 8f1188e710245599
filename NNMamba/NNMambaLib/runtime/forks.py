"""Processes that were forked: threads, and the locks that they held, do not come along."""

from __future__ import annotations

import os

from NNMambaLib.errors import BackendError

_used_in: set[int] = set()


def note_use() -> None:
    """Note that this process computes: libraries start threads in it."""
    _used_in.add(os.getpid())


def has_computed() -> bool:
    """Return whether this process has computed before: what libraries load for that is in its memory already."""
    return os.getpid() in _used_in


def refuse_after_fork() -> None:
    """Refuse to compute in a process that was forked from one that did.

    Raises:
        BackendError: since the libraries' threads are missing here, and waiting for them would never end.
    """
    if _used_in and os.getpid() not in _used_in:
        raise BackendError(
            "This process was forked from one in which the engine or a training had run, and can run neither: start "
            'processes with spawn (multiprocessing.get_context("spawn")).'
        )
