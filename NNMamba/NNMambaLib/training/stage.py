"""The progress of a training's stages."""

from __future__ import annotations

import time
from collections.abc import Callable

from NNMambaLib.progress import Progress

OnProgress = Callable[[Progress], None]
# Takes a sentence, without its full stop, on what is not as the user may take it to be.
OnNotice = Callable[[str], None]


class Stage:
    """A stage of a training, which reports its progress at the start and after each step.

    The time left is unknown until the second step has ended, for the first one may compile kernels for minutes.

    Args:
        total: number of steps, of which an earlier run did `done`.
    """

    def __init__(self, name: str, total: int, on_progress: OnProgress, done: int = 0):
        self._name, self._total, self._on_progress = name, total, on_progress
        self._done = done
        # Since when steps are timed, and how many were done by then.
        self._timed: tuple[float, int] | None = None
        on_progress(Progress(name, done, total, None))

    def step(self) -> None:
        """Count one step as done."""
        self._done += 1
        now, left = time.perf_counter(), None
        if self._timed is None:
            self._timed = now, self._done
        else:
            began, first = self._timed
            left = (now - began) / (self._done - first) * (self._total - self._done)
        self._on_progress(Progress(self._name, self._done, self._total, left))
