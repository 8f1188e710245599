"""All faults of the data at once: a user who mends one after the other starts as often as there are faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from NNMambaLib.errors import VolumeError

_MOST_SHOWN = 10


class Faults:
    """Collects what is wrong with the data, each a sentence that names the file and the remedy."""

    def __init__(self):
        self._found: list[str] = []

    def add(self, sentence: str) -> None:
        self._found.append(sentence)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Take a VolumeError for a fault."""
        try:
            yield
        except VolumeError as error:
            self.add(str(error))

    def refuse(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            VolumeError: with all faults in one line, or the first ten where there are more.
        """
        if len(self._found) == 1:
            raise VolumeError(self._found[0])
        if self._found:
            shown = self._found[:_MOST_SHOWN]
            left = len(self._found) - len(shown)
            more = f" And {left} more." if left else ""
            raise VolumeError(
                f"The data have {len(self._found)} faults. "
                + " ".join(f"({number}) {sentence}" for number, sentence in enumerate(shown, start=1))
                + more
            )
