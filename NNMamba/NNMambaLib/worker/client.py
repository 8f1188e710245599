"""The caller's side of the worker: hands over jobs one at a time, and outlives the worker."""

from __future__ import annotations

import atexit
import itertools
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from NNMambaLib.errors import Cancelled, NNMambaError, WorkerError
from NNMambaLib.progress import Progress
from NNMambaLib.results import Result, map_volumes
from NNMambaLib.runtime.child_python import python_command
from NNMambaLib.worker import voxels
from NNMambaLib.worker.endings import cancelled, died
from NNMambaLib.worker.event import read_event
from NNMambaLib.worker.hand_over import hand_over
from NNMambaLib.worker.job import JobRequest, JobState, WorkerJob
from NNMambaLib.worker.messages import to_line
from NNMambaLib.worker.private_folder import PrivateFolder
from NNMambaLib.worker.questions import Question
from NNMambaLib.worker.transport import Transport
from NNMambaLib.worker.watch import Watch

R = TypeVar("R", bound=Result)

IDLE_SECONDS = 600.0
SILENCE_SECONDS = 120.0
# The engine need not be installed: it is imported from where this file is.
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!a}); "
    "from NNMambaLib.worker.process import main; main()"
)


class WorkerState(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    IDLE = "idle"
    WORKING = "working"


class WorkerClient:
    """Runs jobs in a worker process, which starts with the first job, and again after it died or ended from idleness.

    Attributes:
        last_error: of the last job that failed, or None.
        volume_names: of all volumes that were handed over.

    Every method and callback belongs to one thread: that of `transport`.

    Args:
        idle_seconds: seconds without a job after which the worker ends and frees its memory.
        python: the interpreter that runs the worker.
        temporary_folder: where the private folder is made; None takes the system's.
        silence_seconds: after which a process that gives no sign of life while it has a job counts as stopped, and is
            killed.
    """

    def __init__(
        self,
        transport: Transport,
        idle_seconds: float = IDLE_SECONDS,
        python: str = sys.executable,
        temporary_folder: str | Path | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ):
        self._transport = transport
        self.idle_seconds = idle_seconds
        self._python = python
        self._watch = Watch(
            transport,
            silence_seconds,
            is_alive=lambda: self.pid is not None,
            is_busy=lambda: self._active is not None,
            on_silence=self._fell_silent,
        )
        # Why the process is being killed.
        self._fault: WorkerError | None = None
        self._folder = PrivateFolder(temporary_folder)
        self._numbers = itertools.count(1)
        self._waiting: deque[WorkerJob] = deque()
        self._active: WorkerJob | None = None
        self._sending: Generator[None, None, bytes] | None = None
        self._gone = False
        self._started_pid: int | None = None
        self._engine_pid: int | None = None
        self._last_log = ""
        self.last_error: NNMambaError | None = None
        self.volume_names: set[str] = set()
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """Process ID of the worker; None while there is none.

        Slicer's interpreter is a launcher, which starts the worker: its own ID stands here until the worker tells.
        """
        started = self._transport.pid
        return started if started is None or self._engine_pid is None else self._engine_pid

    @property
    def _launched(self) -> bool:
        """Whether the process that was started is a launcher, and the worker another one."""
        return self._engine_pid not in (None, self._started_pid)

    @property
    def state(self) -> WorkerState:
        if self.pid is None:
            return WorkerState.STOPPED
        if not self._watch.ready:
            return WorkerState.STARTING
        return WorkerState.IDLE if self._active is None else WorkerState.WORKING

    @property
    def log(self) -> str:
        """What the worker, or the last one, and the libraries in it have printed."""
        return self._folder.log() or self._last_log

    @property
    def jobs(self) -> tuple[WorkerJob, ...]:
        """The jobs that have not ended, the active one first."""
        return (*((self._active,) if self._active else ()), *self._waiting)

    def submit(
        self,
        request: JobRequest | Question,
        on_progress: Callable[[Progress], None] | None = None,
        on_finished: Callable[[Any], None] | None = None,
        on_failed: Callable[[NNMambaError], None] | None = None,
    ) -> WorkerJob:
        """Queue a job; either `on_finished` or `on_failed` is called later.

        `on_finished` gets the result of a job, or the answer to a question (see `worker.questions`). The voxels of a
        result are files that are removed once it has returned: see `voxels.in_memory`.
        """
        job = WorkerJob(str(next(self._numbers)), request, on_progress, on_finished, on_failed, self.cancel)
        if isinstance(request, JobRequest):
            self.volume_names |= {volume.name for volume in request.volumes}
        self._waiting.append(job)
        self._transport.call_soon(self._next)
        return job

    def cancel(self, job: WorkerJob) -> None:
        """See `WorkerJob.cancel`."""
        if job.ended:
            return
        job.cancels += 1
        if job.state is not JobState.RUNNING:
            self._end(job, error=cancelled())
        elif job.cancels == 1:
            self._transport.write(to_line({"do": "cancel", "job": job.number}))
        else:
            self._kill()

    def stop(self) -> None:
        """Kill the worker's process; a job that it runs ends as cancelled."""
        if self._active is not None:
            self._active.cancels += 1
        # A job that is submitted before the process is gone waits for the next process.
        self._gone = True
        if self.pid is not None:
            self._kill()

    def _kill(self) -> None:
        if self._launched and self._engine_pid is not None:
            # A launcher's end is not its child's, and a stopped process would not notice.
            with suppress(OSError):
                os.kill(self._engine_pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        self._transport.kill()

    def close(self) -> None:
        """End the worker and remove its files, when the caller's process ends. No callbacks are called."""
        atexit.unregister(self.close)
        self._waiting.clear()
        busy, self._active, self._sending = self._active, None, None
        if self.pid is not None:
            if busy is None:
                self._transport.write(to_line({"do": "stop"}))
            else:
                self._kill()
            self._transport.close(0.0 if busy else 2.0)
        self._folder.remove()

    def _next(self) -> None:
        if self._active is not None or not self._waiting:
            return
        job = self._active = self._waiting.popleft()
        job.state = JobState.SENDING
        try:
            self._start()
            self._sending = hand_over(job.number, job.request, self._folder.of_job(job.number))
        except NNMambaError as error:
            self._end(job, error=error)
            return
        except (OSError, ValueError) as error:
            self._end(job, error=WorkerError(f"The engine's process cannot be started ({error}): check the set-up."))
            return
        self._transport.call_soon(lambda: self._send_piece(job))

    def _start(self) -> None:
        if self.pid is not None:
            self._folder.restore()
            return
        self._folder.make()
        self._gone = False
        self._fault = self._engine_pid = None
        folder, idle, beat = str(self._folder.path), str(self.idle_seconds), str(self._watch.beat_seconds)
        options = ["--folder", folder, "--idle", idle, "--beat", beat]
        self._transport.start([*python_command(_PROGRAM, self._python), *options], self._on_line, self._on_exit)
        self._started_pid = self._transport.pid
        self._watch.start()

    def _fell_silent(self, seconds: float) -> None:
        if self._fault is None:
            self._kill_faulty(f"gave no sign of life for {seconds:.0f} s and was ended: was it stopped?")

    def _kill_faulty(self, what: str) -> None:
        """Kill the process; its job fails with what it did."""
        self._fault = WorkerError(f"The engine's process {what} The next run starts it again.")
        self._kill()

    def _send_piece(self, job: WorkerJob) -> None:
        if self._active is not job or job.state is not JobState.SENDING or self._sending is None:
            return
        try:
            next(self._sending)
        except StopIteration as end:
            self._sending = None
            job.state = JobState.RUNNING
            self._transport.write(end.value)
            return
        except NNMambaError as error:
            self._end(job, error=error)
            return
        except Exception as error:
            # A request can hold anything, and its job alone is to fail.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            message = (
                f"The job cannot be handed to the engine's process ({reason}): its options must be numbers, text, or "
                "lists of them, and its volumes arrays of numbers."
            )
            self._end(job, error=WorkerError(message))
            return
        self._transport.call_soon(lambda: self._send_piece(job))

    def _on_line(self, line: bytes) -> None:
        self._watch.heard()
        if self._fault is not None:
            return
        job = self._active
        try:
            event = read_event(line, job)
        except ValueError as error:
            # After it, nothing that the process says can be trusted.
            self._kill_faulty(f"said what is not a message ({error}): please report it.")
            return
        if event.name == "idle":
            self._gone = True
        elif event.name == "started":
            self._engine_pid = event.pid
        elif event.name == "ready":
            self._watch.ready = True
        if job is None or not event.of_job:
            return
        if event.progress is not None:
            job.progress = event.progress
            job.on_progress(event.progress)
        elif event.error is not None:
            self._end(job, error=event.error)
        elif event.name == "finished":
            if job.cancels and not isinstance(job.request, Question):
                # It came to its end before it heard.
                self._end(job, error=cancelled())
            else:
                self._end(job, result=event.result)

    def _on_exit(self, code: int) -> None:
        job = self._active
        log = self._last_log = self._folder.log()
        if job is not None and self._gone and not job.cancels and self._fault is None:
            # It was ending already when the job came.
            self._active, self._sending, job.state = None, None, JobState.WAITING
            self._waiting.appendleft(job)
            self._transport.call_soon(self._next)
        elif job is not None:
            self._end(job, error=cancelled() if job.cancels else self._fault or died(code, log, self._launched))
        if self._active is None:
            self._folder.remove()

    def _end(self, job: WorkerJob, result: Any = None, error: NNMambaError | None = None) -> None:
        job.error = error
        job.state = JobState.FINISHED
        if error is not None:
            job.state = JobState.CANCELLED if isinstance(error, Cancelled) else JobState.FAILED
            if job.state is JobState.FAILED:
                self.last_error = error
        if self._active is job:
            self._active, self._sending = None, None
        elif job in self._waiting:
            self._waiting.remove(job)
        try:
            if error is None:
                job.on_finished(result)
            else:
                job.on_failed(error)
        finally:
            self._folder.remove_job(job.number)
            self._transport.call_soon(self._next)


def in_memory(result: R) -> R:
    """Return a result that outlives the worker's files."""
    return map_volumes(result, voxels.in_memory)
