"""Ctrl-C and SIGTERM end a command in order: what it began is removed, and the exit code says which it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: treated as Ctrl-C is, wherever that is."""


class Interruption:
    """What has arrived.

    Attributes:
        code: the exit code for it; None where nothing has.
    """

    def __init__(self):
        self.code: int | None = None


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Raise KeyboardInterrupt on Ctrl-C, and `Terminated` on SIGTERM, while the context lasts.

    A signal that was to be ignored, as under nohup, stays so. Outside of the main thread, this changes nothing.
    """
    found = Interruption()

    def interrupt(*_) -> None:
        found.code = INTERRUPTED
        raise KeyboardInterrupt

    def terminate(*_) -> None:
        found.code = TERMINATED
        raise Terminated

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number, handler in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, handler)
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
