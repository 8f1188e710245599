"""Tell when a process that has a job gives no sign of life for too long."""

from __future__ import annotations

from collections.abc import Callable

from NNMambaLib.worker.transport import Transport

# Signs of life in the time after which a process without one counts as stopped.
_BEATS = 12
# While a process starts, loading libraries from a slow disk silences it longer.
_STARTING_FACTOR = 5


class Watch:
    """Counts the signs of life that a process with a job leaves out.

    Attributes:
        beat_seconds: from one sign of life to the next.
        ready: whether the process has started; set by the caller.

    Args:
        silence_seconds: after which a process counts as stopped.
        on_silence: called with the seconds of silence that were allowed, once a beat while the silence lasts.
    """

    def __init__(
        self,
        transport: Transport,
        silence_seconds: float,
        is_alive: Callable[[], bool],
        is_busy: Callable[[], bool],
        on_silence: Callable[[float], None],
    ):
        self._transport = transport
        self.beat_seconds = silence_seconds / _BEATS
        self.ready = False
        self._is_alive, self._is_busy, self._on_silence = is_alive, is_busy, on_silence
        self._silent_beats = 0
        self._starts = 0

    def start(self) -> None:
        """Watch a process that has just been started, and no earlier one."""
        self._starts += 1
        self._silent_beats, self.ready = 0, False
        self._look(self._starts)

    def heard(self) -> None:
        """Note a sign of life."""
        self._silent_beats = 0

    def _look(self, start: int) -> None:
        if start != self._starts or not self._is_alive():
            return
        allowed = _BEATS if self.ready else _BEATS * _STARTING_FACTOR
        # Counted one by one: a machine that slept has let only one of them pass.
        self._silent_beats = self._silent_beats + 1 if self._is_busy() else 0
        if self._silent_beats > allowed:
            self._on_silence(self.beat_seconds * allowed)
        self._transport.call_later(self.beat_seconds, lambda: self._look(start))
