"""The self-test: every bundled model on the bundled sample volume, one after the other, in the worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from NNMambaLib.errors import Cancelled, NNMambaError
from NNMambaLib.inference.tasks import task_named
from NNMambaLib.models.catalogue import bundled_packages, sample_volume
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.progress import Progress
from NNMambaLib.results import Result
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.worker.client import WorkerClient
from NNMambaLib.worker.job import JobRequest, WorkerJob


class Verdict(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Trial:
    """One model's part in the self-test.

    Attributes:
        seconds: that it took, including the worker's start if need be; None before it ended.
        outcome: the main result, or why it failed.
    """

    package: ModelPackage
    verdict: Verdict = Verdict.WAITING
    seconds: float | None = None
    outcome: str = ""


class SelfTest:
    """Runs the models one after the other, and keeps only a few words of each result.

    Args:
        packages: by default those that come with the engine.
        worker: runs the models.
        on_changed: called with None when a trial begins or ends, and with the progress of the one that runs.

    Raises:
        NNMambaError: if a bundled package or the sample volume cannot be read.
    """

    def __init__(
        self,
        worker: WorkerClient,
        on_changed: Callable[[Progress | None], None],
        packages: Sequence[ModelPackage] | None = None,
    ):
        self._worker = worker
        self.on_changed = on_changed
        self._job: WorkerJob | None = None
        self._cancelled = False
        self.trials = [Trial(package) for package in (bundled_packages() if packages is None else packages)]
        self._volume = read_volume(sample_volume(), check=False)

    @property
    def running(self) -> bool:
        return any(trial.verdict in (Verdict.WAITING, Verdict.RUNNING) for trial in self.trials)

    def start(self) -> None:
        """Begin with the first model."""
        self._next()

    def cancel(self) -> None:
        """End the running model at its next tile, or at once if called again; the others do not start."""
        self._cancelled = True
        if self._job is not None:
            self._job.cancel()

    def _next(self) -> None:
        waiting = [trial for trial in self.trials if trial.verdict is Verdict.WAITING]
        if self._cancelled:
            for trial in waiting:
                trial.verdict = Verdict.CANCELLED
        elif waiting:
            trial, began = waiting[0], time.monotonic()
            trial.verdict = Verdict.RUNNING
            manifest = trial.package.manifest
            self._job = self._worker.submit(
                JobRequest(manifest.task, str(trial.package.path), [self._volume]),
                lambda progress: self.on_changed(progress),
                lambda result: self._ended(trial, began, result, None),
                lambda error: self._ended(trial, began, None, error),
            )
        self.on_changed(None)

    def _ended(self, trial: Trial, began: float, result: Result | None, error: NNMambaError | None) -> None:
        self._job, trial.seconds = None, time.monotonic() - began
        if error is not None:
            trial.verdict = Verdict.CANCELLED if isinstance(error, Cancelled) else Verdict.FAILED
            trial.outcome = str(error)
        else:
            found, trial.outcome = task_named(trial.package.manifest.task).describe(result)
            trial.verdict = Verdict.PASSED if found else Verdict.FAILED
        self._next()
