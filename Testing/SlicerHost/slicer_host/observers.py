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


def stop_observing(*observed) -> None:
    """Remove all that calls Python from the given objects.

    An observer that VTK calls while it destroys the object keeps that alive, and so ends the process.
    """
    for observers in list(_all):
        observers.clear()
    for each in observed:
        newest = each.AddObserver("NoEvent", lambda *_: None)
        for tag in range(1, newest + 1):
            command = each.GetCommand(tag)
            if command is not None and command.GetClassName() == "vtkPythonCommand":
                each.RemoveObserver(tag)
