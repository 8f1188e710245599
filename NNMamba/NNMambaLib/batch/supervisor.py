"""Runs the cases of a batch in processes of their own, and outlives each of them."""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from NNMambaLib.batch.plan import Case, Plan
from NNMambaLib.batch.run_case import ELSEWHERE, Outcome, failed_by_death
from NNMambaLib.errors import BatchError
from NNMambaLib.runtime.child_python import child_environment, python_command

_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!a}); "
    "from NNMambaLib.batch.worker import main; main()"
)
# Seconds before a case is tried again that another batch was at.
_PAUSE = 2.0
# Processes in a row that end before they are ready: the next would as well.
_MOST_STARTS = 3
# Variables by which the libraries' threads are counted.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass
class _Worker:
    """A process and the cases that it has: those that wait in it, the one that is computed, the one that is written."""

    process: subprocess.Popen
    device: str
    ready: bool = False
    waiting: list[Case] = field(default_factory=list)
    running: list[Case] = field(default_factory=list)
    closing: bool = False

    @property
    def cases(self) -> list[Case]:
        return [*self.waiting, *self.running]

    def send(self, message: Any) -> None:
        assert self.process.stdin is not None, "it is a pipe"
        # A process that has died is noticed by the end of its output.
        with suppress(OSError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()


def run_cases(
    plan: Plan,
    cases: Iterable[Case],
    workers: int = 1,
    threads: int = 0,
    devices: Sequence[str] = (),
    on_ended: Callable[[Outcome], None] = lambda outcome: None,
) -> None:
    """Run cases in processes that keep their models loaded; return when all have ended.

    A process that dies is replaced. The cases that it had are run once more, each alone in a process; one in which that
    dies too has failed.

    Args:
        threads: of each process; 0 lets the libraries choose.
        devices: of the processes, in turn; none takes the plan's.
        on_ended: called for each case, in this thread.

    Raises:
        BatchError: if no process can be started.
    """
    supervisor = _Supervisor(plan, deque(cases), threads, devices or [plan.device], on_ended)
    supervisor.run(workers)


class _Supervisor:
    def __init__(
        self,
        plan: Plan,
        cases: deque[Case],
        threads: int,
        devices: Sequence[str],
        on_ended: Callable[[Outcome], None],
    ):
        self._plan, self._cases, self._threads, self._on_ended = plan, cases, threads, on_ended
        self._free_devices = itertools.cycle(devices)
        self._events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._workers: list[_Worker] = []
        # Cases whose process died while it had them; and those that another batch was at, with the time to try again.
        self._suspects: deque[Case] = deque()
        self._tried_alone: set[str] = set()
        self._elsewhere: deque[tuple[float, Case]] = deque()
        self._starts_without_success = 0

    def run(self, workers: int) -> None:
        try:
            for _ in range(min(workers, len(self._cases))):
                self._start()
            while self._workers:
                self._give_out()
                try:
                    worker, message = self._events.get(timeout=_PAUSE / 4)
                except queue.Empty:
                    continue
                if message is None:
                    self._died(worker)
                else:
                    self._heard(worker, message)
        finally:
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                worker.process.wait()

    def _start(self, device: str | None = None) -> None:
        device = device or next(self._free_devices)
        environment = child_environment()
        if self._threads:
            environment |= dict.fromkeys(_THREADS, str(self._threads))
        process = subprocess.Popen(
            python_command(_PROGRAM, sys.executable),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        worker = _Worker(process, device)
        self._workers.append(worker)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        worker.send({"plan": replace(self._plan, device=device).as_message(), "threads": self._threads})

    def _listen(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None, "it is a pipe"
        for line in worker.process.stdout:
            if line.endswith(b"\n"):
                self._events.put((worker, json.loads(line)))
        worker.process.wait()
        self._events.put((worker, None))

    def _give_out(self) -> None:
        now = time.monotonic()
        while self._elsewhere and self._elsewhere[0][0] <= now:
            self._cases.append(self._elsewhere.popleft()[1])
        for worker in self._workers:
            while (case := self._next_for(worker)) is not None:
                worker.waiting.append(case)
                worker.send(asdict(case))
            left = self._cases or self._suspects or self._elsewhere or any(each.cases for each in self._workers)
            if worker.ready and not worker.closing and not left:
                worker.closing = True
                worker.send(None)

    def _next_for(self, worker: _Worker) -> Case | None:
        """Return the case that a process is to get now, if any."""
        if not worker.ready or worker.closing:
            return None
        has_suspect = any(case.name in self._tried_alone for case in worker.cases)
        if self._suspects and not worker.cases:
            case = self._suspects.popleft()
            self._tried_alone.add(case.name)
            return case
        # Near the end, a case that waits in one process is one that another could begin.
        ahead = 2 if len(self._cases) > len(self._workers) else 1
        computing = len(worker.waiting)
        if has_suspect or self._suspects or computing >= ahead or not self._cases:
            return None
        return self._cases.popleft()

    def _heard(self, worker: _Worker, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "ready":
            worker.ready, self._starts_without_success = True, 0
        elif event == "unable":
            raise BatchError(message["error"])
        elif event == "computed":
            # It is written now, and another can be read.
            moved = [case for case in worker.waiting if case.name == message["case"]]
            worker.waiting = [case for case in worker.waiting if case.name != message["case"]]
            worker.running += moved
        elif event == "ended":
            self._ended(worker, Outcome(message["case"], message["status"], message["error"]))

    def _ended(self, worker: _Worker, outcome: Outcome) -> None:
        case = next(case for case in worker.cases if case.name == outcome.case)
        worker.waiting = [each for each in worker.waiting if each is not case]
        worker.running = [each for each in worker.running if each is not case]
        self._tried_alone.discard(case.name)
        if outcome.status == ELSEWHERE:
            self._elsewhere.append((time.monotonic() + _PAUSE, case))
        else:
            self._on_ended(outcome)

    def _died(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        if worker.closing and not worker.cases:
            return
        code = worker.process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if not worker.ready:
            self._starts_without_success += 1
            if self._starts_without_success >= _MOST_STARTS:
                raise BatchError(
                    f"The processes that run the cases end as soon as they start ({how}): run nnmamba info, and set "
                    "NNMamba up again."
                )
        for case in worker.cases:
            if case.name in self._tried_alone:
                self._tried_alone.discard(case.name)
                sentence = (
                    f"Its process was killed twice ({how}; out of memory?): close other programs, use fewer workers, "
                    "or run this case alone."
                )
                self._on_ended(failed_by_death(self._plan, case, sentence))
            else:
                self._suspects.append(case)
        if self._cases or self._suspects or self._elsewhere:
            self._start(worker.device)
