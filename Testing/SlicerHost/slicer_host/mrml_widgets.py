"""Stand-ins for the widgets of Slicer that show MRML nodes: the same members, a plain look."""

from __future__ import annotations

from functools import partial

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from slicer_host.ctk_widgets import ctkMenuButton, ctkSliderWidget
from slicer_host.members import assigns, forwarded, kept
from slicer_host.observers import Observers
from slicer_host.pythonqt import StandIn

_NODES_CHANGED = (
    slicer.vtkMRMLScene.NodeAddedEvent,
    slicer.vtkMRMLScene.NodeRemovedEvent,
    slicer.vtkMRMLScene.EndBatchProcessEvent,
    slicer.vtkMRMLScene.EndCloseEvent,
    slicer.vtkMRMLScene.EndImportEvent,
)
_SEGMENTATION_CHANGED = (
    "ModifiedEvent",
    slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkSegmentation.SegmentsOrderModified,
    slicer.vtkSegmentation.RepresentationModified,
    slicer.vtkSegmentation.ContainedRepresentationNamesModified,
)


class qMRMLWidget(StandIn, QtWidgets.QWidget):
    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self._emit("mrmlSceneChanged(vtkMRMLScene*)", scene)


class qSlicerWidget(StandIn, QtWidgets.QWidget):
    _scene = None
    setMRMLScene = qMRMLWidget.setMRMLScene


class qMRMLSliderWidget(ctkSliderWidget):
    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        self._scene = scene


class qMRMLNodeComboBox(StandIn, QtWidgets.QWidget):
    """Selects a node of the scene among those of some classes; can add, rename and remove one."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None
        self._current_id = ""
        self._had_nodes = False
        self._attributes = []
        self._type_labels = {}
        self._observers = Observers(self)
        self._node_observers = Observers(self)
        self._box = QtWidgets.QComboBox(self)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
        self._box.enabled = False
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self.setFocusProxy(self._box)
        self._box.connect("activated(int)", self._activated)

    nodeTypes = kept([], then="_refresh")
    showHidden = kept(False, then="_refresh")
    showChildNodeTypes = kept(True, then="_refresh")
    hideChildNodeTypes = kept([], then="_refresh")
    baseName = kept("")
    noneEnabled = kept(False, then="_refresh")
    noneDisplay = kept("None", then="_refresh")
    addEnabled = kept(True, then="_refresh")
    removeEnabled = kept(True, then="_refresh")
    renameEnabled = kept(False, then="_refresh")
    editEnabled = kept(False)
    selectNodeUponCreation = kept(True)
    currentNodeID = property(lambda self: self._current_id, lambda self, node_id: self.setCurrentNodeID(node_id))
    currentNodeId = currentNodeID

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        self._observers.clear()
        self._scene = scene
        self._observers.add(scene, *_NODES_CHANGED, method="_refresh")
        self._box.setEnabled(scene is not None)
        self._refresh()

    def currentNode(self):
        return self._scene.GetNodeByID(self._current_id) if self._scene and self._current_id else None

    def setCurrentNode(self, node):
        if isinstance(node, str):
            self.setCurrentNodeID(node)
        else:
            self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, node_id):
        node_id = node_id or ""
        if node_id in {node.GetID() for node in self._nodes()} or not node_id:
            self._select(node_id)

    def setCurrentNodeIndex(self, index):
        node = self.nodeFromIndex(index)
        self.setCurrentNode(node)

    def nodeFromIndex(self, index):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def nodeCount(self):
        return len(self._nodes())

    def addAttribute(self, nodeType, name, value=None):
        self._attributes.append((nodeType, name, value))
        self._refresh()

    def removeAttribute(self, nodeType, name):
        self._attributes = [entry for entry in self._attributes if entry[:2] != (nodeType, name)]
        self._refresh()

    def setNodeTypeLabel(self, label, nodeType):
        self._type_labels[nodeType] = label
        self._refresh()

    def nodeTypeLabel(self, nodeType):
        return self._type_labels.get(nodeType) or slicer.vtkMRMLScene.GetTagByClassName(self._scene, nodeType)

    def addNode(self, nodeType=None):
        nodeType = nodeType or self.nodeTypes[0]
        name = self.baseName or self.nodeTypeLabel(nodeType)
        node = self._scene.CreateNodeByClass(nodeType)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(name))
        for of_type, attribute, value in self._attributes:
            if node.IsA(of_type):
                node.SetAttribute(attribute, "" if value is None else str(value))
        node = self._scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self._emit("nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self):
        self._emit("nodeAboutToBeRemoved(vtkMRMLNode*)", self.currentNode())
        self._scene.RemoveNode(self.currentNode())

    def renameCurrentNode(self):
        import qt

        node = self.currentNode()
        name = qt.QInputDialog.getText(self, "Rename", "New name:", qt.QLineEdit.Normal, node.GetName())
        if name:
            node.SetName(name)
            self._emit("currentNodeRenamed(QString)", name)

    def _nodes(self):
        if self._scene is None:
            return []
        nodes = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        return [node for node in nodes if self._is_offered(node)]

    def _is_offered(self, node):
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if self.showChildNodeTypes:
            matches = any(map(node.IsA, self.nodeTypes)) and not any(map(node.IsA, self.hideChildNodeTypes))
        else:
            matches = node.GetClassName() in self.nodeTypes
        return matches and all(
            node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
            for of_type, name, value in self._attributes
            if node.IsA(of_type)
        )

    def _refresh(self):
        if self._scene is not None and (self._scene.IsBatchProcessing() or self._scene.IsClosing()):
            return
        ids = [node.GetID() for node in self._nodes()]
        lost = self._current_id not in ids
        if lost and ids and not self.noneEnabled and (self._current_id or not self._had_nodes):
            # As any combo box, which shows its first item when it gets some, or the one that it showed goes.
            self._select(ids[0])
        else:
            self._select("" if lost else self._current_id)
        self._had_nodes = bool(ids)

    def _select(self, node_id):
        changed, self._current_id = node_id != self._current_id, node_id
        self._fill()
        if changed:
            node = self.currentNode()
            self._emit("currentNodeChanged(vtkMRMLNode*)", node)
            self._emit("currentNodeChanged(bool)", node is not None)
            self._emit("currentNodeIDChanged(QString)", node_id)

    def _fill(self):
        if self._scene is None:
            return
        self._node_observers.clear()
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for node in self._nodes():
            self._node_observers.add(node, "ModifiedEvent", method="_rename")
            self._box.addItem(node.GetName() or node.GetID(), node.GetID())
        self._box.setCurrentIndex(self._box.findData(self._current_id))
        self._actions = {}
        if self.renameEnabled and self._current_id:
            self._actions["Rename current…"] = self.renameCurrentNode
        if self.removeEnabled and self._current_id:
            self._actions["Delete current"] = self.removeCurrentNode
        for name in self.nodeTypes if self.addEnabled else ():
            self._actions[f"Create new {self.nodeTypeLabel(name)}"] = partial(self.addNode, name)
        if self._actions and self._box.count:
            self._box.insertSeparator(self._box.count)
        self._box.addItems(list(self._actions))

    def _rename(self):
        for index in range(self._box.count):
            node = self._scene.GetNodeByID(self._box.itemData(index) or "")
            if node is not None:
                self._box.setItemText(index, node.GetName() or "")

    def _activated(self, index):
        text, node_id = self._box.itemText(index), self._box.itemData(index)
        if node_id is None and text in self._actions:
            self._box.setCurrentIndex(self._box.findData(self._current_id))
            self._actions[text]()
        else:
            self._select(node_id or "")
        self._emit("nodeActivated(vtkMRMLNode*)", self.currentNode())


class qMRMLSegmentationShow3DButton(ctkMenuButton):
    """A check button: the segmentation's surfaces are made and shown in 3-D."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._node = None
        self._observers = Observers(self)
        self.text = self.text or "Show 3D"
        self.checkable = True
        self.enabled = False
        self.connect("clicked(bool)", self._show)

    locked = kept(False)
    setLocked = assigns("locked")

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node):
        self._observers.clear()
        self._node = node
        self._observers.add(node, *_SEGMENTATION_CHANGED, method="_refresh")
        self._refresh()

    def _refresh(self):
        segments = self._node.GetSegmentation().GetNumberOfSegments() if self._node is not None else 0
        self.enabled = segments > 0
        self.checked = segments > 0 and self._has_surfaces() and bool(self._node.GetDisplayNode().GetVisibility3D())

    def _has_surfaces(self):
        name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        return self._node.GetSegmentation().ContainsRepresentation(name) and self._node.GetDisplayNode() is not None

    def _show(self, shown):
        if self._node.GetDisplayNode() is None:
            self._node.CreateDefaultDisplayNodes()
        if shown and not self._has_surfaces():
            self._node.CreateClosedSurfaceRepresentation()
        self._node.GetDisplayNode().SetVisibility3D(shown)
        self._refresh()


class qMRMLSegmentsTableView(qMRMLWidget):
    """Lists a segmentation's segments: shown or not, colour, name."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node = None
        self._filling = False
        self._observers = Observers(self)
        self._table = QtWidgets.QTableWidget(0, 3, self)
        self._table.setHorizontalHeaderLabels(["Shown", "Color", "Name"])
        self._table.horizontalHeader().stretchLastSection = True
        self._table.verticalHeader().hide()
        self._table.selectionBehavior = QtWidgets.QAbstractItemView.SelectRows
        self._table.setColumnWidth(0, 56)
        self._table.setColumnWidth(1, 52)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._table)
        self._table.connect("itemChanged(QTableWidgetItem*)", self._item_changed)
        selection = "selectionChanged(QItemSelection,QItemSelection)"
        self._table.selectionModel().connect(selection, lambda *ranges: self._emit(selection, *ranges))

    readOnly = kept(False, then="_refresh")
    setReadOnly = assigns("readOnly")
    segmentCount = property(lambda self: self._table.rowCount)
    selectionMode = forwarded("_table", "selectionMode")
    setSelectionMode = assigns("selectionMode")

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node):
        self._observers.clear()
        self._node = node
        self._observers.add(node, *_SEGMENTATION_CHANGED, method="_refresh")
        self._refresh()

    def selectedSegmentIDs(self):
        return [self.segmentIDForRow(index.row()) for index in self._table.selectionModel().selectedRows(2)]

    def setSelectedSegmentIDs(self, ids):
        self._table.clearSelection()
        for row in range(self._table.rowCount):
            if self.segmentIDForRow(row) in ids:
                kind = QtCore.QItemSelectionModel.Select | QtCore.QItemSelectionModel.Rows
                self._table.selectionModel().select(self._table.model().index(row, 2), kind)

    def clearSelection(self):
        self._table.clearSelection()

    def segmentIDForRow(self, row):
        item = self._table.item(row, 2)
        return item.data(QtCore.Qt.UserRole) if item is not None else ""

    def _refresh(self):
        if self._filling:
            return
        self._filling = True
        try:
            ids = list(self._node.GetSegmentation().GetSegmentIDs()) if self._node is not None else []
            self._table.setRowCount(len(ids))
            for row, segment_id in enumerate(ids):
                self._fill_row(row, segment_id)
        finally:
            self._filling = False

    def _fill_row(self, row, segment_id):
        segment, display = self._node.GetSegmentation().GetSegment(segment_id), self._node.GetDisplayNode()
        shown, color, name = (QtWidgets.QTableWidgetItem() for _ in range(3))
        fixed = QtCore.Qt.ItemIsEnabled | QtCore.Qt.ItemIsSelectable
        shown.setFlags(fixed | QtCore.Qt.ItemIsUserCheckable)
        visible = display is not None and display.GetSegmentVisibility(segment_id)
        shown.setCheckState(QtCore.Qt.Checked if visible else QtCore.Qt.Unchecked)
        color.setFlags(fixed)
        color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
        name.setText(segment.GetName())
        name.setData(QtCore.Qt.UserRole, segment_id)
        name.setFlags(fixed if self.readOnly else fixed | QtCore.Qt.ItemIsEditable)
        for column, item in enumerate((shown, color, name)):
            self._table.setItem(row, column, item)

    def _item_changed(self, item):
        if self._filling or self._node is None:
            return
        segment_id = self.segmentIDForRow(item.row())
        if item.column() == 0:
            self._node.GetDisplayNode().SetSegmentVisibility(segment_id, item.checkState() == QtCore.Qt.Checked)
        elif item.column() == 2:
            self._node.GetSegmentation().GetSegment(segment_id).SetName(item.text())


class _TableModel(QtCore.QAbstractTableModel):
    """A vtkTable's cells as text."""

    def __init__(self, parent):
        super().__init__(parent)
        self._table = vtk.vtkTable()

    def _show(self, node):
        self.beginResetModel()
        self._table = node.GetTable() if node is not None else vtk.vtkTable()
        self.endResetModel()

    def rowCount(self, parent=None):
        return self._table.GetNumberOfRows()

    def columnCount(self, parent=None):
        return self._table.GetNumberOfColumns()

    def data(self, index, role=QtCore.Qt.DisplayRole):
        if role != QtCore.Qt.DisplayRole:
            return None
        value = self._table.GetValue(index.row(), index.column())
        return f"{value.ToDouble():.6g}" if value.IsDouble() or value.IsFloat() else value.ToString()

    def headerData(self, section, orientation, role=QtCore.Qt.DisplayRole):
        if role != QtCore.Qt.DisplayRole:
            return None
        return self._table.GetColumnName(section) if orientation == QtCore.Qt.Horizontal else str(section + 1)


class qMRMLTableView(StandIn, QtWidgets.QTableView):
    """Shows a table node, read-only."""

    _scene = _node = _view_node = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._observers = Observers(self)
        self._view_observers = Observers(self)
        self.setModel(_TableModel(self))

    mrmlScene, setMRMLScene = qMRMLWidget.mrmlScene, qMRMLWidget.setMRMLScene

    def mrmlTableNode(self):
        return self._node

    def setMRMLTableNode(self, node):
        self._observers.clear()
        self._node = node
        self._observers.add(node, "ModifiedEvent", method="_refresh")
        self._refresh()

    def mrmlTableViewNode(self):
        return self._view_node

    def setMRMLTableViewNode(self, view_node):
        self._view_observers.clear()
        self._view_node = view_node
        self._view_observers.add(view_node, "ModifiedEvent", method="_show_table_of_view")
        self._show_table_of_view()

    def tableModel(self):
        return self.model()

    def _show_table_of_view(self):
        if self._view_node is not None and self._view_node.GetTableNode() is not self._node:
            self.setMRMLTableNode(self._view_node.GetTableNode())

    def _refresh(self):
        self.model()._show(self._node)
        self.resizeColumnsToContents()
