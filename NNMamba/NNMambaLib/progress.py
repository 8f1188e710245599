"""Progress and cancellation of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from NNMambaLib.errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """How far a run is: `done` of `total` steps of a stage, and the seconds left of it, None while unknown."""

    stage: str
    done: int
    total: int
    seconds_left: float | None


class Monitor:
    """Times the stages of a run, reports progress, and stops the run when asked to.

    Args:
        on_progress: called at each stage's start and after each of its steps.
        is_cancelled: asked at each stage's start and after each of its steps; once it returns True the run ends with
            `Cancelled`.

    Attributes:
        seconds: of each stage that has ended, and of what was attributed by `aside`.
    """

    def __init__(
        self,
        on_progress: Callable[[Progress], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ):
        self._on_progress = on_progress or (lambda progress: None)
        self._is_cancelled = is_cancelled or (lambda: False)
        self._began = time.perf_counter()
        # The current stage, and when it began.
        self._stage: tuple[str, float] | None = None
        self._done, self._total = 0, 0
        self.seconds: dict[str, float] = {}

    def stage(self, name: str, total: int = 1) -> None:
        """End the previous stage and begin one of `total` steps.

        Raises:
            Cancelled: if the caller asked for it.
        """
        self.finish()
        self._stage = name, time.perf_counter()
        self.seconds.setdefault(name, 0.0)  # in the order in which stages begin
        self._done, self._total = 0, total
        self._report()

    def step(self) -> None:
        """Count one step of the stage as done.

        Raises:
            Cancelled: if the caller asked for it.
        """
        self._done += 1
        self._report()

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Attribute the time of the context to another stage than the current one."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            assert self._stage is not None, "a stage has begun"
            stage, stage_began = self._stage
            self._stage = stage, stage_began + seconds

    def finish(self) -> dict[str, float]:
        """End the stage; return the seconds of each stage and in all (``total``)."""
        now = time.perf_counter()
        if self._stage is not None:
            name, began = self._stage
            self.seconds[name] += now - began
            self._stage = None
        return {**self.seconds, "total": now - self._began}

    def _report(self) -> None:
        if self._is_cancelled():
            raise Cancelled("The job was cancelled; nothing was changed.")
        assert self._stage is not None, "a stage has begun"
        name, began = self._stage
        elapsed = time.perf_counter() - began
        left = elapsed / self._done * (self._total - self._done) if self._done else None
        self._on_progress(Progress(name, self._done, self._total, left))
