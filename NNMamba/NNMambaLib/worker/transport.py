"""What the client asks of a process and its pipes, whatever event loop they belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


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
        """Write to its standard input, at once or later, without waiting for it to read."""

    def kill(self) -> None:
        """End it at once; `on_exit` follows."""

    def close(self, seconds: float) -> None:
        """Wait this long for the process to end, then kill it; no callback is called from now on."""

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call a function from the event loop."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function from the event loop after some seconds."""

    @property
    def pid(self) -> int | None:
        """Of the running process, or None."""
