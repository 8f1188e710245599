"""What the worker's process says to its client: the job ends with its sentence, and nothing is raised to the caller."""

from __future__ import annotations

import os
from pathlib import Path

from NNMambaLib.worker.client import WorkerClient
from NNMambaLib.worker.messages import to_line
from NNMambaLib.worker.questions import Question


def seeds(folder: Path) -> None:
    """Write what a process says that answers, and one that fails."""
    progress = {"event": "progress", "job": "1", "stage": "Reading", "fraction": 0.5}
    ends = (
        {"event": "finished", "job": "1", "result": {"memory": 1}},
        {"event": "failed", "job": "1", "kind": "VolumeError", "message": "It is empty: give another."},
    )
    for number, end in enumerate(ends):
        (folder / str(number)).mkdir()
        said = [{"event": "ready", "pid": 1}, {"event": "alive"}, progress, end]
        (folder / str(number) / "lines").write_bytes(b"".join(map(to_line, said)))


def feed(folder: Path) -> None:
    """Let a client with a job hear the lines, and then that the process has ended."""
    process = _Process()
    client = WorkerClient(process)
    ends = []
    try:
        client.submit(Question("machine"), on_finished=ends.append, on_failed=ends.append)
        process.turn()
        for line in (folder / "lines").read_bytes().splitlines(keepends=True):
            process.say(line)
        # A client that waits for more than was said learns that the process is gone; it may try another.
        process.end()
    finally:
        client.close()
    if len(ends) != 1:
        raise AssertionError(f"The job ended {len(ends)} times.")


class _Process:
    """A process that says what it is told to, and an event loop that turns when it is told to."""

    def __init__(self):
        self._running, self._soon = False, []

    def start(self, command, on_line, on_exit):
        self._running, self._on_line, self._on_exit = True, on_line, on_exit

    def write(self, data):
        pass

    def kill(self):
        self.call_soon(self.end)

    def close(self, seconds):
        self._running = False

    def call_soon(self, function):
        self._soon.append(function)

    def call_later(self, seconds, function):
        pass

    @property
    def pid(self):
        return os.getpid() if self._running else None

    def turn(self):
        for _ in range(20):
            waiting, self._soon = self._soon, []
            for function in waiting:
                function()

    def say(self, line):
        if self._running:
            self._on_line(line)
            self.turn()

    def end(self):
        if self._running:
            self._running = False
            self._on_exit(1)
            self.turn()
