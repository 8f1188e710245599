"""The worker for programs without an event loop of their own."""

from __future__ import annotations

import heapq
import itertools
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from NNMambaLib.runtime.child_python import child_environment
from NNMambaLib.worker.client import WorkerClient, in_memory
from NNMambaLib.worker.job import JobRequest
from NNMambaLib.worker.messages import Result


class SubprocessTransport:
    """A `Transport` whose event loop is `pump`."""

    def __init__(self):
        self._process: subprocess.Popen | None = None
        self._events: queue.Queue[Callable[[], None]] = queue.Queue()
        self._written: queue.Queue[bytes | None] = queue.Queue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(
        self,
        command: Sequence[str],
        on_line: Callable[[bytes], None],
        on_exit: Callable[[int], None],
    ) -> None:
        process = self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )

        def read() -> None:
            assert process.stdout is not None, "it is a pipe"
            for line in process.stdout:
                # Of a process that is killed, the last line may be cut short.
                if line.endswith(b"\n"):
                    self._events.put(lambda line=line: on_line(line) if self._process is process else None)
            code = process.wait()
            written.put(None)
            self._events.put(lambda: self._exited(process, code, on_exit))

        def write() -> None:
            assert process.stdin is not None, "it is a pipe"
            # A process that has ended reads no more; its exit is an event of its own.
            with suppress(OSError), process.stdin:
                while (data := written.get()) is not None:
                    process.stdin.write(data)
                    process.stdin.flush()

        written = self._written = queue.Queue()
        for target in (read, write):
            threading.Thread(target=target, daemon=True).start()

    def write(self, data: bytes) -> None:
        # In a thread: a pipe that is full makes its writer wait, until a process that is stopped goes on.
        if self._process is not None:
            self._written.put(data)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def close(self, seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def call_soon(self, function: Callable[[], None]) -> None:
        self._events.put(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._timer_numbers), function))

    def pump(self, seconds: float) -> None:
        """Handle the events that are waiting; if there are none, wait up to `seconds` for the first."""
        deadline = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
                deadline = 0.0
                continue
            until = min([deadline, *(due for due, *_ in self._timers[:1])])
            try:
                event = self._events.get(timeout=max(0.0, until - now))
            except queue.Empty:
                if until == deadline:
                    return
                continue
            event()
            deadline = 0.0

    def _exited(self, process: subprocess.Popen, code: int, on_exit: Callable[[int], None]) -> None:
        if self._process is process:
            self._process = None
            on_exit(code)


def run_in_worker(client: WorkerClient, transport: SubprocessTransport, request: JobRequest, **callbacks) -> Result:
    """Run a job in the client's worker and wait for its result, which is held in memory.

    Args:
        callbacks: ``on_progress`` (see `Progress`) and ``is_cancelled``, asked some times a second.

    Raises:
        NNMambaError: as the engine does, `WorkerError` where the worker died, and `Cancelled`.
    """
    results = []
    is_cancelled = callbacks.get("is_cancelled") or (lambda: False)
    job = client.submit(request, callbacks.get("on_progress"), lambda result: results.append(in_memory(result)))
    while not job.ended:
        transport.pump(0.05)
        if not job.cancels and is_cancelled():
            job.cancel()
    if job.error is not None:
        raise job.error
    return results[0]
