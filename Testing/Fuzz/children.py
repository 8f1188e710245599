"""Child processes seen from outside: time, memory and signals, and which input each fault belongs to."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[1]
# Importing torch on a busy machine, and writing and reading the seeds.
_STARTING_SECONDS = 180.0


@dataclass(frozen=True)
class Limits:
    """What an input may take: seconds, and bytes of the whole process."""

    seconds: float = 20.0
    memory: int = 2 * 2**30


@dataclass(frozen=True)
class Outcome:
    """An end: ``read``, ``refused``, or a fault (``traceback``, ``hang``, ``memory``, ``crash``, ``leftover``)."""

    kind: str
    details: str | None = None

    @property
    def is_fault(self) -> bool:
        return self.kind not in ("read", "refused")


class Child:
    """A process that takes inputs one after the other; after a crash or hang, the next input starts another."""

    def __init__(self, limits: Limits = Limits(), search_path: tuple[Path, ...] = ()):
        self._limits, self._search_path = limits, search_path
        self._process: subprocess.Popen | None = None

    def try_input(self, family: str, number: int, seed: int, module: str | None = None) -> Outcome:
        """Return how the input of this number ends."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        request = {"family": family, "module": module or f"families.{family}", "number": number, "seed": seed}
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            return self._ended()
        outcome = self._wait("begun", _STARTING_SECONDS)
        if not isinstance(outcome, Outcome):
            outcome = self._wait("done", self._limits.seconds)
        if isinstance(outcome, Outcome):
            return outcome
        if outcome["peak"] > self._limits.memory:
            # The peak is of the process's whole life: the next input gets another.
            self._kill()
            return Outcome("memory", f"{outcome['peak']} bytes were held.")
        return Outcome(outcome["outcome"], outcome["fault"])

    def keep(self, folder: Path) -> None:
        """Copy the last input."""
        shutil.copytree(self._sandbox / "input", folder, dirs_exist_ok=True)

    def close(self) -> None:
        """End the process and remove its folder."""
        self._kill()
        if hasattr(self, "_sandbox"):
            shutil.rmtree(self._sandbox, ignore_errors=True)

    def _start(self) -> None:
        if hasattr(self, "_sandbox"):
            shutil.rmtree(self._sandbox, ignore_errors=True)
        self._sandbox = Path(tempfile.mkdtemp(prefix="nnmamba-fuzz-"))
        (self._sandbox / "temporary").mkdir()
        paths = [*self._search_path, _HERE, _REPOSITORY / "NNMamba", _REPOSITORY / "Testing" / "Python"]
        temporary = str(self._sandbox / "temporary")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "NNMAMBA_MODELS": str(self._sandbox / "models"),
            "OMP_NUM_THREADS": "1",
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary),
        }
        self._log = open(self._sandbox / "log", "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", str(_HERE / "child.py"), str(self._sandbox)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_pump, args=(self._process.stdout, self._lines), daemon=True).start()

    def _wait(self, event: str, seconds: float) -> dict | Outcome:
        """Return the answer, or the outcome if there is none in time, within the memory."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=0.1)
            except queue.Empty:
                # First, as memory without bound takes time too.
                if self._held() > self._limits.memory:
                    self._kill()
                    return Outcome("memory", "More was held than is allowed.")
                if time.monotonic() > deadline:
                    self._kill()
                    return Outcome("hang", f"It took more than {seconds:g} s.")
                continue
            if line is None:
                return self._ended()
            answer = json.loads(line)
            if answer["event"] == event:
                return answer

    def _held(self) -> int:
        assert self._process is not None
        try:
            return psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return 0

    def _ended(self) -> Outcome:
        assert self._process is not None
        code = self._process.wait()
        self._kill()
        said = (self._sandbox / "log").read_text(errors="replace")[-4000:]
        return Outcome("crash", f"The process ended with {code}. {said}")

    def _kill(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    # What was left to be sent to a process that is gone.
                    continue
        self._process = None


def _pump(stream, lines: queue.Queue) -> None:
    try:
        for line in stream:
            lines.put(line)
    except ValueError:
        # Closed meanwhile.
        pass
    lines.put(None)
