"""Standard output and error of a command that goes on where nobody reads them."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Streams:
    """What could not be printed.

    Attributes:
        error: of the first write that failed for another reason than that the reader is gone; None if there was none.
    """

    def __init__(self):
        self.error: OSError | None = None


class _Patient(io.RawIOBase):
    """Writes to a file descriptor, and drops everything once that has failed."""

    def __init__(self, descriptor: int, streams: Streams):
        self._descriptor, self._streams, self._broken = descriptor, streams, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data) -> int:
        if not self._broken:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self._broken = True
                if error.errno not in (errno.EPIPE, errno.EBADF):
                    self._streams.error = self._streams.error or error
        return len(data)


@contextmanager
def patient_streams() -> Iterator[Streams]:
    """Let printing never fail while the context lasts: a command's files are worth more than its lines.

    Characters that the stream's encoding lacks are written as escapes. Streams that somebody has put in place of the
    process's own are left as they are.
    """
    streams = Streams()
    before = sys.stdout, sys.stderr
    _open_missing()
    opened = []
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is not getattr(sys, f"__{name}__"):
            continue
        number = 1 if name == "stdout" else 2
        encoding = getattr(stream, "encoding", None) or "utf-8"
        raw = io.BufferedWriter(_Patient(number, streams))
        patient = io.TextIOWrapper(
            raw, encoding, "backslashreplace", line_buffering=name == "stderr" or os.isatty(number)
        )
        opened.append(patient)
        setattr(sys, name, patient)
    try:
        yield streams
    finally:
        for stream in opened:
            stream.flush()
        sys.stdout, sys.stderr = before


def _open_missing() -> None:
    """Open what was closed when the process began: else the next file, a result perhaps, would be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given, which is this one.
            os.open(os.devnull, os.O_RDWR)
