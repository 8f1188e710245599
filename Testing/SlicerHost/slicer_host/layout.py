"""A stand-in for the layout manager: Slicer's layouts, with a widget for each view."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from slicer_host.pythonqt import StandIn


class ctkLayoutManager(StandIn, QtCore.QObject):
    def __init__(self):
        super().__init__()
        self._viewport = QtWidgets.QWidget()

    def viewport(self):
        return self._viewport


class qSlicerLayoutManager(ctkLayoutManager):
    def __init__(self, application_logic):
        super().__init__()

    def resetSliceViews(self): ...
    def resetThreeDViews(self): ...
    def _draw(self): ...
    def _clear(self): ...
