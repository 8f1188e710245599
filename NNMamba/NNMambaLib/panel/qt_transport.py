"""The worker's process on Qt's event loop.

Threads are of no use here: Slicer's main thread holds Python's lock while it waits for events, so they hardly run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import qt

from NNMambaLib.runtime.child_python import safe_variables

_START_MS = 10_000


class QtTransport:
    """A `Transport` (see `NNMambaLib.worker.transport`) whose event loop is Qt's."""

    def __init__(self):
        self._process = None
        self._buffer = b""
        self._events: deque[Callable[[], None]] = deque()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else int(self._process.processId())

    def start(self, command: Sequence[str], on_line: Callable[[bytes], None], on_exit: Callable[[int], None]) -> None:
        process = qt.QProcess()
        self._buffer, self._on_line, self._on_exit = b"", on_line, on_exit
        process.connect("readyReadStandardOutput()", self._read)
        process.connect("finished(int,QProcess::ExitStatus)", self._finished)
        environment = qt.QProcessEnvironment.systemEnvironment()
        for name, value in safe_variables().items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.start(command[0], list(command[1:]))
        if not process.waitForStarted(_START_MS):
            raise OSError(process.errorString())
        self._process = process

    def write(self, data: bytes) -> None:
        if self._process is not None:
            self._process.write(data)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def close(self, seconds: float) -> None:
        process, self._process = self._process, None
        self._events.clear()
        if process is not None and not process.waitForFinished(int(1000 * seconds)):
            process.kill()
            process.waitForFinished(_START_MS)

    def call_soon(self, function: Callable[[], None]) -> None:
        qt.QTimer.singleShot(0, function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        qt.QTimer.singleShot(int(1000 * seconds), function)

    def pump(self, seconds: float) -> None:
        """Handle what has happened, or wait for at most so many seconds until something does.

        The user's clicks and keys wait until Slicer's own event loop runs again: they must not start, change or close
        anything in the middle of a script's call.
        """
        alarm = qt.QTimer()
        alarm.start(int(1000 * seconds))
        qt.QEventLoop().processEvents(qt.QEventLoop.ExcludeUserInputEvents | qt.QEventLoop.WaitForMoreEvents)
        alarm.stop()

    def _read(self) -> None:
        if self._process is None:
            return
        self._buffer += self._process.readAllStandardOutput().data()
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._later(lambda line=line: self._on_line(line))

    def _finished(self, code: int, status) -> None:
        if self._process is None:
            return
        self._read()
        self._later(lambda: self._exited(-code if status == qt.QProcess.CrashExit else code))

    def _later(self, event: Callable[[], None]) -> None:
        # Not at once: Qt does not repeat readyRead while a slot of it runs, so an event loop within a callback, such
        # as a dialog's or that of `pump`, would hear no more of the worker.
        self._events.append(event)
        qt.QTimer.singleShot(0, self._handle)

    def _handle(self) -> None:
        # A callback may have closed the worker.
        if self._events:
            self._events.popleft()()

    def _exited(self, code: int) -> None:
        self._process = None
        self._on_exit(code)
