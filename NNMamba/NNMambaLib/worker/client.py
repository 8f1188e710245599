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

from NNMambaLib import errors
from NNMambaLib.errors import Cancelled, NNMambaError, WorkerError
from NNMambaLib.progress import Progress
from NNMambaLib.results import Result, map_volumes
from NNMambaLib.runtime.child_python import python_command
from NNMambaLib.worker import voxels
from NNMambaLib.worker.hand_over import hand_over
from NNMambaLib.worker.job import JobRequest, JobState, WorkerJob
from NNMambaLib.worker.messages import from_line, result_from_message, to_line
from NNMambaLib.worker.private_folder import PrivateFolder
from NNMambaLib.worker.questions import Question
from NNMambaLib.worker.transport import Transport

R = TypeVar("R", bound=Result)

IDLE_SECONDS = 600.0
SILENCE_SECONDS = 120.0
# The engine need not be installed: it is imported from where this file is.
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!a}); "
    "from NNMambaLib.worker.process import main; main()"
)
# Signs of life in the time after which a worker without one counts as stopped.
_BEATS = 12
# While a process starts, loading libraries from a slow disk silences it longer.
_STARTING_FACTOR = 5
# Bytes of a line to tell what it was.
_QUOTED = 60


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
        self._beat_seconds = silence_seconds / _BEATS
        self._silent_beats = 0
        self._starts = 0
        # Why the process is being killed.
        self._fault: WorkerError | None = None
        self._folder = PrivateFolder(temporary_folder)
        self._numbers = itertools.count(1)
        self._waiting: deque[WorkerJob] = deque()
        self._active: WorkerJob | None = None
        self._sending: Generator[None, None, bytes] | None = None
        self._gone = False
        self._ready = False
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
        if not self._ready:
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
            self._end(job, error=_cancelled())
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
        self._gone = self._ready = False
        self._fault, self._silent_beats, self._engine_pid = None, 0, None
        folder, idle, beat = str(self._folder.path), str(self.idle_seconds), str(self._beat_seconds)
        options = ["--folder", folder, "--idle", idle, "--beat", beat]
        self._transport.start([*python_command(_PROGRAM, self._python), *options], self._on_line, self._on_exit)
        self._started_pid = self._transport.pid
        self._starts += 1
        self._watch(self._starts)

    def _watch(self, start: int) -> None:
        """Count the signs of life that a process with a job leaves out, and kill it after too many."""
        if start != self._starts or self.pid is None:
            return
        allowed = _BEATS if self._ready else _BEATS * _STARTING_FACTOR
        # Counted one by one: a machine that slept has let only one of them pass.
        self._silent_beats = self._silent_beats + 1 if self._active is not None else 0
        if self._silent_beats > allowed and self._fault is None:
            seconds = self._beat_seconds * allowed
            self._kill_faulty(f"gave no sign of life for {seconds:.0f} s and was ended: was it stopped?")
        self._transport.call_later(self._beat_seconds, lambda: self._watch(start))

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
        self._silent_beats = 0
        if self._fault is not None:
            return
        job = self._active
        try:
            message = from_line(line)
            event = message["event"]
            concerned = job is not None and message.get("job") == job.number
            progress = _progress(message) if concerned and event == "progress" else None
            error = _error(message) if concerned and event == "failed" else None
            pid = int(message["pid"]) if event == "started" else None
            result = self._result(job, message) if job is not None and concerned and event == "finished" else None
        except NNMambaError as failure:
            # The result's files cannot be read.
            error, event, result, concerned, progress, pid = failure, "failed", None, True, None, None
        except Exception as failure:
            # Whatever can be wrong with what is not a message: after it, nothing that the process says can be trusted.
            said = " ".join(line[:_QUOTED].decode(errors="replace").split())
            reason = " ".join(f"{type(failure).__name__}: {failure}".split())
            self._kill_faulty(f"said what is not a message ({reason}; it began with '{said}'): please report it.")
            return
        if event == "idle":
            self._gone = True
        elif event == "started":
            self._engine_pid = pid
        elif event == "ready":
            self._ready = True
        if job is None or not concerned:
            return
        if progress is not None:
            job.progress = progress
            job.on_progress(progress)
        elif error is not None:
            self._end(job, error=error)
        elif event == "finished":
            if job.cancels and not isinstance(job.request, Question):
                # It came to its end before it heard.
                self._end(job, error=_cancelled())
            else:
                self._end(job, result=result)

    def _result(self, job: WorkerJob, message: dict[str, Any]) -> Any:
        content = message["result"]
        if isinstance(job.request, Question):
            return content
        return None if job.cancels else result_from_message(content)

    def _on_exit(self, code: int) -> None:
        job = self._active
        log = self._last_log = self._folder.log()
        if job is not None and self._gone and not job.cancels and self._fault is None:
            # It was ending already when the job came.
            self._active, self._sending, job.state = None, None, JobState.WAITING
            self._waiting.appendleft(job)
            self._transport.call_soon(self._next)
        elif job is not None:
            self._end(job, error=_cancelled() if job.cancels else self._fault or _died(code, log, self._launched))
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


def _progress(message: dict[str, Any]) -> Progress:
    return Progress(message["stage"], message["done"], message["total"], message["seconds_left"])


def _error(message: dict[str, Any]) -> NNMambaError:
    kind = getattr(errors, message["kind"])
    if not issubclass(kind, NNMambaError):
        raise TypeError(f"{kind.__name__} is not an error of the engine")
    return kind(message["message"])


def _cancelled() -> Cancelled:
    return Cancelled("The job was cancelled; nothing was changed.")


def _died(code: int, log: str, launched: bool) -> WorkerError:
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    if launched and code > 0 and "Traceback" not in log:
        # The worker says why it ends by itself; Slicer's launcher ends with 1 where the system has killed the worker.
        how = "killed from outside"
    said = log.strip().splitlines()
    last = f"; its last words: {said[-1]}" if said else ""
    return WorkerError(
        f"The engine's process ended before its job did ({how}{last}): if memory ran out, close other programs or use "
        "a smaller volume; the next run starts it again."
    )
