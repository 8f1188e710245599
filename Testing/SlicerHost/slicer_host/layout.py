"""A stand-in for the layout manager: Slicer's own layouts, with a widget for each view."""

from __future__ import annotations

from xml.etree import ElementTree

import slicer
from PySide6 import QtCore, QtWidgets

from slicer_host import views
from slicer_host.observers import Observers
from slicer_host.pythonqt import StandIn

_WIDGETS = {
    "vtkMRMLSliceNode": views.qMRMLSliceWidget,
    "vtkMRMLViewNode": views.qMRMLThreeDWidget,
    "vtkMRMLTableViewNode": views.qMRMLTableWidget,
    "vtkMRMLPlotViewNode": views.qMRMLPlotWidget,
}


class ctkLayoutManager(StandIn, QtCore.QObject):
    def __init__(self):
        super().__init__()
        self._viewport = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(self._viewport)
        column.setContentsMargins(0, 0, 0, 0)

    def viewport(self):
        return self._viewport


class ctkLayoutFactory(ctkLayoutManager):
    pass


class qMRMLLayoutManager(ctkLayoutFactory):
    """Shows the layout of the scene's layout node; makes a view's widget when it is first shown."""

    def __init__(self, application_logic):
        super().__init__()
        self._application_logic = application_logic
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(application_logic.GetMRMLScene())
        self._widgets = {}
        self._shown = None
        self._content = None
        self._observers = Observers(self)
        self._observers.add(self._logic.GetLayoutNode(), "ModifiedEvent", method="_arrange")
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._arrange()

    def layoutLogic(self):
        return self._logic

    def mrmlScene(self):
        return self._application_logic.GetMRMLScene()

    layout = property(
        lambda self: self._logic.GetLayoutNode().GetViewArrangement(), lambda self, layout: self.setLayout(layout)
    )

    def setLayout(self, layout):
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def sliceViewNames(self):
        return [widget.sliceViewName for widget in self._of_class(views.qMRMLSliceWidget)]

    def sliceWidget(self, name):
        found = self._of_class(views.qMRMLSliceWidget)
        return next((widget for widget in found if widget.sliceViewName == name), None)

    def mrmlSliceLogics(self):
        return self._application_logic.GetSliceLogics()

    def threeDWidget(self, index):
        return self._nth(views.qMRMLThreeDWidget, index)

    def tableWidget(self, index):
        return self._nth(views.qMRMLTableWidget, index)

    def plotWidget(self, index):
        return self._nth(views.qMRMLPlotWidget, index)

    threeDViewCount = property(lambda self: len(self._of_class(views.qMRMLThreeDWidget)))
    tableViewCount = property(lambda self: len(self._of_class(views.qMRMLTableWidget)))
    plotViewCount = property(lambda self: len(self._of_class(views.qMRMLPlotWidget)))

    def resetSliceViews(self):
        for widget in self._of_class(views.qMRMLSliceWidget):
            widget.fitSliceToBackground()

    def resetThreeDViews(self):
        for widget in self._of_class(views.qMRMLThreeDWidget):
            widget.threeDView().resetFocalPoint()

    def _of_class(self, cls):
        return [widget for widget in self._widgets.values() if isinstance(widget, cls)]

    def _nth(self, cls, index):
        found = self._of_class(cls)
        return found[index] if 0 <= index < len(found) else None

    def _arrange(self):
        """Show the layout that the layout node describes."""
        description = self._logic.GetLayoutNode().GetCurrentLayoutDescription()
        if not description or description == self._shown:
            return
        self._shown = description
        before = self._content
        self._content = self._made(ElementTree.fromstring(description))
        shown = self._content.findChildren(QtWidgets.QWidget)
        for widget in self._widgets.values():
            if widget is not self._content and widget not in shown:
                widget.setParent(None)
        if before is not None and before not in self._widgets.values():
            before.setParent(None)
            before.deleteLater()
        self._viewport.layout().addWidget(self._content)
        self._content.show()
        self._emit("layoutChanged(int)", self.layout)

    def _made(self, element):
        """Return the widget for an element of a layout's description."""
        if element.tag == "view":
            return self._view(element)
        items = list(element.findall("item"))
        if element.get("type") == "tab":
            tabs = QtWidgets.QTabWidget()
            for item in items:
                tabs.addTab(self._made(item[0]), item.get("name") or "")
            return tabs
        container = QtWidgets.QWidget()
        grid = QtWidgets.QGridLayout(container)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        for number, item in enumerate(items):
            row, column = (number, 0) if element.get("type", "horizontal") == "vertical" else (0, number)
            row, column = int(item.get("row", row)), int(item.get("column", column))
            child = self._made(item[0])
            grid.addWidget(child, row, column)
            grid.setRowStretch(row, 1)
            grid.setColumnStretch(column, 1)
            child.show()
        return container

    def _view(self, element):
        cls, tag = element.get("class"), element.get("singletontag")
        if (cls, tag) not in self._widgets:
            if cls not in _WIDGETS:
                raise NotImplementedError(f"the test host has no view for {cls}")
            node = self.mrmlScene().GetSingletonNode(tag, cls)
            self._widgets[cls, tag] = _WIDGETS[cls](self._application_logic, node)
        return self._widgets[cls, tag]

    def _close(self):
        """Let go of the scene: removing the views' nodes under their logics ends the process."""
        self._observers.clear()
        for widget in self._widgets.values():
            widget._close()
        self._application_logic.GetSliceLogics().RemoveAllItems()
        self._logic.SetMRMLScene(None)


class qSlicerLayoutManager(qMRMLLayoutManager):
    pass
