"""Observation of VTK objects by Qt objects."""

from __future__ import annotations

import weakref

import shiboken6

_all: weakref.WeakSet[Observers] = weakref.WeakSet()


class Observers:
    """Calls methods of a Qt object on VTK's events for as long as the object lives, which this does not prolong."""

    def __init__(self, owner):
        self._owner = weakref.ref(owner)
        self._tags = []
        _all.add(self)

    def add(self, observed, *events, method: str) -> None:
        """Call `owner.method()` on each such event of an object; None is not observed."""
        if observed is None:
            return
        owner = self._owner

        def call(*_):
            if (alive := owner()) is not None and shiboken6.isValid(alive):
                getattr(alive, method)()

        for event in events:
            self._tags.append((observed, observed.AddObserver(event, call)))

    def clear(self) -> None:
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags.clear()


def stop_observing() -> None:
    """Remove all observers: nodes that are destroyed by the garbage collector must not call Python."""
    for observers in list(_all):
        observers.clear()
