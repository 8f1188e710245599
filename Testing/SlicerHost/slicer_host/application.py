"""Stand-ins for the application, its main window and its files."""

from __future__ import annotations

import sys
from pathlib import Path

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from slicer_host.pythonqt import StandIn

# Panels look at the version to choose between ways of doing things.
_VERSION = (5, 12)


class qSlicerCoreApplication(StandIn, QtWidgets.QApplication):
    """The process's only application; what it answers with belongs to the host that runs."""

    _host = None

    def mrmlScene(self):
        return self._host.scene

    def applicationLogic(self):
        return self._host.application_logic

    def moduleManager(self):
        return self._host.modules.manager

    def moduleLogic(self, name):
        return self._host.modules.manager.module(name).logic()

    def coreIOManager(self):
        return self._host.io_manager

    def settings(self):
        return QtCore.QSettings()

    userSettings = revisionUserSettings = settings

    def pauseRender(self):
        """Views are drawn only when they are looked at."""

    resumeRender = pauseRender

    def restart(self):
        self._host.restarts += 1

    def openUrl(self, url):
        self._host.opened_urls.append(url)
        return True

    def processEvents(self):
        QtWidgets.QApplication.processEvents()

    def testingEnabled(self):
        return False

    temporaryPath = property(lambda self: self._host.application_logic.GetTemporaryPath())
    cachePath = slicerHome = extensionsInstallPath = temporaryPath
    majorVersion = property(lambda self: _VERSION[0])
    minorVersion = property(lambda self: _VERSION[1])
    isInstalled = property(lambda self: True)


class qSlicerApplication(qSlicerCoreApplication):
    def layoutManager(self):
        return self._host.layout

    def ioManager(self):
        return self._host.io_manager

    def confirmRestart(self, reason=""):
        import qt

        if qt.QMessageBox.question(None, "Restart", f"{reason} Restart now?") == qt.QMessageBox.Yes:
            self.restart()


def application() -> qSlicerApplication:
    """Return the process's application; made at the first call, since Qt allows one only."""
    made = QtCore.QCoreApplication.instance()
    if made is None:
        QtCore.qInstallMessageHandler(_print_message)
        made = qSlicerApplication(["slicer-host"])
        made.setStyle("Fusion")
        made.setPalette(_light_palette())
        made.setFont(QtGui.QFont("DejaVu Sans", 9))
        made.setQuitOnLastWindowClosed(False)
    return made


def _print_message(kind, context, message) -> None:
    # Qt's platform without a screen says this of each window.
    if "propagateSizeHints" not in message:
        print(message, file=sys.stderr)


def _light_palette() -> QtGui.QPalette:
    palette = QtGui.QPalette(QtGui.QColor("#efefef"))
    palette.setColor(QtGui.QPalette.Base, QtGui.QColor("#ffffff"))
    palette.setColor(QtGui.QPalette.AlternateBase, QtGui.QColor("#f6f7f9"))
    palette.setColor(QtGui.QPalette.Highlight, QtGui.QColor("#2f6db5"))
    return palette


class qSlicerCoreIOManager(StandIn, QtCore.QObject):
    """Reads and writes nodes by their modules' logics; holds the functions that Slicer's readers have as classes."""

    def __init__(self, host):
        super().__init__()
        self._host = host

    def fileType(self, path):
        name = str(path).lower()
        endings = {
            "SceneFile": (".mrb", ".mrml"),
            "SegmentationFile": (".seg.nrrd", ".seg.nhdr"),
            "MarkupsFile": (".mrk.json", ".fcsv"),
            "TableFile": (".csv", ".tsv"),
        }
        return next((kind for kind, ends in endings.items() if name.endswith(ends)), "VolumeFile")

    def loadNodes(self, file_type, properties, loaded=None, messages=None):
        path = properties["fileName"]
        name = properties.get("name") or Path(path).name.split(".")[0]
        logic = self._host.modules.logic
        if file_type == "SceneFile":
            return self._load_scene(path, properties)
        if file_type == "VolumeFile":
            node = logic("Volumes").AddArchetypeVolume(path, name, int(bool(properties.get("labelmap"))))
            if node is not None and properties.get("show", True):
                slicer.util.setSliceViewerLayers(background=node, fit=True)
        elif file_type == "SegmentationFile":
            node = logic("Segmentations").LoadSegmentationFromFile(path, True, name)
        elif file_type == "MarkupsFile":
            node = self._host.scene.GetNodeByID(logic("Markups").LoadMarkups(path, name) or "")
        elif file_type == "TableFile":
            node = logic("Tables").AddTable(path, name)
        else:
            raise NotImplementedError(f"the test host reads no {file_type}")
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def saveNodes(self, file_type, properties, messages=None):
        path = str(properties["fileName"])
        if file_type == "SceneFile":
            return bool(self._host.scene.WriteToMRB(path, None, messages))
        node = self._host.scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))

    def fileWriterFileType(self, node, format=""):
        return node.GetClassName()

    def addDefaultStorageNodes(self):
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
            if node.GetStorageNode() is None:
                node.AddDefaultStorageNode()

    def _load_scene(self, path, properties):
        scene = self._host.scene
        if properties.get("clear", True):
            scene.Clear(0)
        if str(path).endswith(".mrb"):
            return bool(scene.ReadFromMRB(str(path), False))
        scene.SetURL(str(path))
        return bool(scene.Import())


class qSlicerIOManager(qSlicerCoreIOManager):
    pass


class qSlicerMainWindow(StandIn, QtWidgets.QMainWindow):
    """The panel beside the views."""

    _PANEL_WIDTH = 480

    def __init__(self, selector, views):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.windowTitle = "Test host on slicer-core: this is not 3D Slicer"
        self._selector = selector
        self._scroll = QtWidgets.QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QtWidgets.QFrame.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        self._scroll.setFixedWidth(self._PANEL_WIDTH)
        self._panels = QtWidgets.QStackedWidget()
        self._scroll.setWidget(self._panels)
        content = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(content)
        row.setContentsMargins(4, 4, 4, 4)
        row.addWidget(self._scroll)
        row.addWidget(views, 1)
        self.setCentralWidget(content)
        self.addToolBar(selector)
        self.statusBar()
        self.resize(1600, 1000)

    def moduleSelector(self):
        return self._selector
