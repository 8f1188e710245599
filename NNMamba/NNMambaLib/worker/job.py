"""A job: a request to the worker, and its life from submission to result, failure or cancellation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from NNMambaLib.errors import NNMambaError
from NNMambaLib.progress import Progress
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.worker.questions import Question


class JobState(Enum):
    WAITING = "waiting"
    SENDING = "sending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class JobRequest:
    """A request to run a task.

    Attributes:
        task: name of one of `inference.tasks.TASKS`.
        model: a name from the catalogue, or the path of a package.
        volumes: one with all channels, or one for each; their arrays must not change before the job runs.
        options: of the engine's method for the task.
        device, backend, memory_limit, precision: see `Engine`.
    """

    task: str
    model: str
    volumes: Sequence[Volume]
    options: dict[str, Any] = field(default_factory=dict)
    device: str = "auto"
    backend: str = "auto"
    memory_limit: int | None = None
    precision: str = "float32"


class WorkerJob:
    """A job that was submitted.

    Attributes:
        state: see `JobState`.
        progress: the last that was reported, or None.
        error: why it failed, with a sentence for the user; `Cancelled` if it was cancelled.
    """

    def __init__(
        self,
        number: str,
        request: JobRequest | Question,
        on_progress: Callable[[Progress], None] | None,
        on_finished: Callable[[Any], None] | None,
        on_failed: Callable[[NNMambaError], None] | None,
        on_cancel: Callable[[WorkerJob], None],
    ):
        self.number = number
        self.request = request
        self.on_progress = on_progress or (lambda progress: None)
        self.on_finished = on_finished or (lambda result: None)
        self.on_failed = on_failed or (lambda error: None)
        self._on_cancel = on_cancel
        self.state = JobState.WAITING
        self.progress: Progress | None = None
        self.error: NNMambaError | None = None
        self.cancels = 0

    @property
    def ended(self) -> bool:
        return self.state in (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)

    def cancel(self) -> None:
        """End the job at its next tile; called a second time, kill the worker's process."""
        self._on_cancel(self)
