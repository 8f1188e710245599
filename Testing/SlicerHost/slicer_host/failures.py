"""Exceptions that Qt and VTK would print and forget."""

from __future__ import annotations

import sys


class Failures:
    """Collects what escapes slots, timers, event handlers and observers while installed."""

    def __init__(self):
        self.found: list[BaseException] = []
        self._hook = None

    def install(self) -> None:
        self._hook, sys.excepthook = sys.excepthook, lambda _, error, __: self.report(error)

    def remove(self) -> None:
        sys.excepthook = self._hook

    def report(self, error: BaseException) -> None:
        self.found.append(error)

    def take(self) -> list[BaseException]:
        """Return what was found and forget it."""
        found, self.found = self.found, []
        return found

    def raise_found(self) -> None:
        """Raise what was found, in a group if it is more than one."""
        found = self.take()
        if len(found) == 1:
            raise found[0]
        if found:
            raise BaseExceptionGroup("several slots, timers or observers failed", found)
