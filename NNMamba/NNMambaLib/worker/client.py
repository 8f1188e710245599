"""The caller's side of the worker: hands over jobs one at a time, and outlives the worker."""

from __future__ import annotations

import atexit
import itertools
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from NNMambaLib import errors
from NNMambaLib.errors import Cancelled, NNMambaError, WorkerError
from NNMambaLib.progress import Progress
from NNMambaLib.results import Result, map_volumes
from NNMambaLib.runtime.child_python import python_command
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.worker import voxels
from NNMambaLib.worker.messages import from_line, result_from_message, to_line
from NNMambaLib.worker.process import LOG_FILE
from NNMambaLib.worker.questions import Question

R = TypeVar("R", bound=Result)

IDLE_SECONDS = 600.0
# The engine need not be installed: it is imported from where this file is.
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!a}); "
    "from NNMambaLib.worker.process import main; main()"
)
# Free space to leave on the temporary folder's disk.
_SPARE_BYTES = 64 * 2**20


class Transport(Protocol):
    """A process and its pipes. `on_line` and `on_exit` are called in the thread that owns the client."""

    def start(
        self,
        command: Sequence[str],
        on_line: Callable[[bytes], None],
        on_exit: Callable[[int], None],
    ) -> None:
        """Start the process; `on_exit` gets its exit code, negative for a signal, where the system tells.

        Raises:
            OSError: if it cannot be started.
        """

    def write(self, data: bytes) -> None:
        """Write to its standard input without waiting for it to read."""

    def kill(self) -> None:
        """End it at once; `on_exit` follows."""

    def close(self, seconds: float) -> None:
        """Wait this long for the process to end, then kill it; no callback is called from now on."""

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call a function from the event loop."""

    @property
    def pid(self) -> int | None:
        """Of the running process, or None."""


class WorkerState(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    IDLE = "idle"
    WORKING = "working"


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
        self, client: WorkerClient, number: str, request: JobRequest | Question, on_progress, on_finished, on_failed
    ):
        self._client = client
        self.number = number
        self.request = request
        self.on_progress: Callable[[Progress], None] = on_progress or (lambda progress: None)
        self.on_finished: Callable[[Any], None] = on_finished or (lambda result: None)
        self.on_failed: Callable[[NNMambaError], None] = on_failed or (lambda error: None)
        self.state = JobState.WAITING
        self.progress: Progress | None = None
        self.error: NNMambaError | None = None
        self.cancels = 0

    @property
    def ended(self) -> bool:
        return self.state in (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)

    def cancel(self) -> None:
        """End the job at its next tile; called a second time, kill the worker's process."""
        self._client.cancel(self)


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
    """

    def __init__(
        self,
        transport: Transport,
        idle_seconds: float = IDLE_SECONDS,
        python: str = sys.executable,
        temporary_folder: str | Path | None = None,
    ):
        self._transport = transport
        self.idle_seconds = idle_seconds
        self._python = python
        self._temporary_folder = temporary_folder
        self._folder: Path | None = None
        self._numbers = itertools.count(1)
        self._waiting: deque[WorkerJob] = deque()
        self._active: WorkerJob | None = None
        self._sending: Iterator[None] | None = None
        self._gone = False
        self._ready = False
        self._last_log = ""
        self.last_error: NNMambaError | None = None
        self.volume_names: set[str] = set()
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """Process ID of the worker; None while there is none."""
        return self._transport.pid

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
        return self._log() or self._last_log

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
        job = WorkerJob(self, str(next(self._numbers)), request, on_progress, on_finished, on_failed)
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
            self._transport.kill()

    def stop(self) -> None:
        """Kill the worker's process; a job that it runs ends as cancelled."""
        if self._active is not None:
            self._active.cancels += 1
        # A job that is submitted before the process is gone waits for the next process.
        self._gone = True
        if self.pid is not None:
            self._transport.kill()

    def close(self) -> None:
        """End the worker and remove its files, when the caller's process ends. No callbacks are called."""
        atexit.unregister(self.close)
        self._waiting.clear()
        busy, self._active, self._sending = self._active, None, None
        if self.pid is not None:
            if busy is None:
                self._transport.write(to_line({"do": "stop"}))
            self._transport.close(0.0 if busy else 2.0)
        self._remove_folder()

    def _next(self) -> None:
        if self._active is not None or not self._waiting:
            return
        job = self._active = self._waiting.popleft()
        job.state = JobState.SENDING
        try:
            self._start()
            self._sending = self._send(job)
        except OSError as error:
            self._end(job, error=WorkerError(f"The engine's process cannot be started ({error}): check the set-up."))
            return
        self._transport.call_soon(lambda: self._send_piece(job))

    def _start(self) -> None:
        if self.pid is not None:
            return
        self._remove_folder()
        self._folder = Path(tempfile.mkdtemp(prefix="nnmamba-", dir=self._temporary_folder))
        self._gone = self._ready = False
        options = ["--folder", str(self._folder), "--idle", str(self.idle_seconds)]
        self._transport.start([*python_command(_PROGRAM, self._python), *options], self._on_line, self._on_exit)

    def _send_piece(self, job: WorkerJob) -> None:
        if self._active is not job or job.state is not JobState.SENDING or self._sending is None:
            return
        try:
            next(self._sending)
        except StopIteration:
            self._sending = None
            return
        except NNMambaError as error:
            self._end(job, error=error)
            return
        self._transport.call_soon(lambda: self._send_piece(job))

    def _send(self, job: WorkerJob) -> Iterator[None]:
        """Write the job's volumes piece by piece, then tell the worker; yields between pieces."""
        folder, request = self._job_folder(job), job.request
        if isinstance(request, Question):
            command = {"do": "ask", "job": job.number, "question": request.name, "arguments": request.arguments}
            job.state = JobState.RUNNING
            self._transport.write(to_line(command))
            return
        needed = sum(volume.array.nbytes for volume in request.volumes) + _SPARE_BYTES
        try:
            folder.mkdir()
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise voxels.write_error(error, folder / "volume") from error
        if free < needed:
            raise errors.OutputError(
                f"The disk of the temporary folder {folder.parents[1]} has {free / 2**20:.0f} MB free and the volume "
                f"needs {needed / 2**20:.0f}: free some space there, or set TMPDIR to a folder on another disk."
            )
        messages = []
        for number, volume in enumerate(request.volumes):
            path = folder / f"input-{number}.raw"
            for _ in voxels.write_in_pieces(volume, path):
                yield
            messages.append(voxels.volume_message(volume, path))
        command = {
            "do": "run",
            "job": job.number,
            "task": request.task,
            "model": request.model,
            "options": request.options,
            "device": request.device,
            "backend": request.backend,
            "memory_limit": request.memory_limit,
            "precision": request.precision,
            "volumes": messages,
            "folder": str(folder),
        }
        job.state = JobState.RUNNING
        self._transport.write(to_line(command))

    def _on_line(self, line: bytes) -> None:
        message = from_line(line)
        if message["event"] == "idle":
            self._gone = True
        elif message["event"] == "ready":
            self._ready = True
        job = self._active
        if job is None or message.get("job") != job.number:
            return
        if message["event"] == "progress":
            job.progress = Progress(message["stage"], message["done"], message["total"], message["seconds_left"])
            job.on_progress(job.progress)
        elif message["event"] == "finished":
            answered = isinstance(job.request, Question)
            if job.cancels and not answered:
                # It came to its end before it heard.
                self._end(job, error=_cancelled())
                return
            self._end(job, result=message["result"] if answered else result_from_message(message["result"]))
        elif message["event"] == "failed":
            self._end(job, error=getattr(errors, message["kind"])(message["message"]))

    def _on_exit(self, code: int) -> None:
        job = self._active
        log = self._last_log = self._log()
        if job is not None and self._gone and not job.cancels:
            # It was ending already when the job came.
            self._active, self._sending, job.state = None, None, JobState.WAITING
            self._waiting.appendleft(job)
            self._transport.call_soon(self._next)
        elif job is not None:
            self._end(job, error=_cancelled() if job.cancels else _died(code, log))
        if self._active is None:
            self._remove_folder()

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
            if self._folder is not None:
                shutil.rmtree(self._job_folder(job), ignore_errors=True)
            self._transport.call_soon(self._next)

    def _job_folder(self, job: WorkerJob) -> Path:
        assert self._folder is not None, "the process has started"
        return self._folder / f"job-{job.number}"

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _log(self) -> str:
        if self._folder is None:
            return ""
        try:
            return (self._folder / LOG_FILE).read_text(errors="replace")
        except OSError:
            return ""


def in_memory(result: R) -> R:
    """Return a result that outlives the worker's files."""
    return map_volumes(result, voxels.in_memory)


def _cancelled() -> Cancelled:
    return Cancelled("The job was cancelled; nothing was changed.")


def _died(code: int, log: str) -> WorkerError:
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    said = log.strip().splitlines()
    last = f"; its last words: {said[-1]}" if said else ""
    return WorkerError(
        f"The engine's process ended before its job did ({how}{last}): if memory ran out, close other programs or use "
        "a smaller volume; the next run starts it again."
    )
