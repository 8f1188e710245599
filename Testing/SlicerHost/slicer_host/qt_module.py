"""The module `qt`: Qt's classes under PythonQt's rules, with what would leave the process answered or recorded."""

from __future__ import annotations

import types

from PySide6 import QtCore, QtGui, QtNetwork, QtWidgets

from slicer_host.dialogs import Dialogs
from slicer_host.ui_loader import QUiLoader

_LIBRARIES = (QtCore, QtGui, QtWidgets, QtNetwork)


class QtModule(types.ModuleType):
    """Finds classes in PySide6 as they are asked for: it loads them one by one."""

    def __init__(self, dialogs: Dialogs, opened_urls: list[str]):
        super().__init__("qt")
        self.QUiLoader = QUiLoader
        self.QProcess = QProcess
        for name, made in _answered_classes(dialogs, opened_urls).items():
            setattr(self, name, made)

    def __getattr__(self, name):
        if name.startswith("Q"):
            for library in _LIBRARIES:
                if hasattr(library, name):
                    return getattr(library, name)
        raise AttributeError(f"module 'qt' has no attribute '{name}'")


class QProcess(QtCore.QProcess):
    """A real process. PythonQt takes str where Qt takes bytes."""

    def write(self, data):
        return QtCore.QProcess.write(self, data.encode() if isinstance(data, str) else data)


def _answered_classes(dialogs: Dialogs, opened_urls: list[str]) -> dict[str, type]:
    def file_function(name, cancelled=""):
        def ask(parent=None, caption="", directory="", filter="", *_):
            return dialogs.ask(f"QFileDialog.{name}", caption, filter, cancelled)

        return staticmethod(ask)

    def message_function(name):
        buttons = QtWidgets.QMessageBox.StandardButton

        def ask(parent, title, text, standardButtons=buttons.Ok, default=buttons.NoButton):
            answer = dialogs.ask(f"QMessageBox.{name}", title, text, buttons.Cancel)
            return buttons[answer] if isinstance(answer, str) else answer

        return staticmethod(ask)

    def input_function(name, cancelled):
        def ask(parent, title, label, *_):
            return dialogs.ask(f"QInputDialog.{name}", title, label, cancelled)

        return staticmethod(ask)

    def open_url(url):
        opened_urls.append(url if isinstance(url, str) else url.toString())
        return True

    functions = {
        "QFileDialog": {
            "getOpenFileName": file_function("getOpenFileName"),
            "getOpenFileNames": file_function("getOpenFileNames", ()),
            "getSaveFileName": file_function("getSaveFileName"),
            "getExistingDirectory": file_function("getExistingDirectory"),
        },
        "QMessageBox": {
            name: message_function(name) for name in ("question", "information", "warning", "critical", "about")
        },
        "QInputDialog": {
            "getText": input_function("getText", ""),
            "getMultiLineText": input_function("getMultiLineText", ""),
            "getItem": input_function("getItem", ""),
            "getInt": input_function("getInt", 0),
            "getDouble": input_function("getDouble", 0.0),
        },
        "QColorDialog": {"getColor": staticmethod(lambda *_: dialogs.ask("QColorDialog", "", "", QtGui.QColor()))},
    }
    classes = {
        name: type(name, (getattr(QtWidgets, name),), {"__module__": __name__, **members})
        for name, members in functions.items()
    }
    classes["QDesktopServices"] = type("QDesktopServices", (), {"openUrl": staticmethod(open_url)})
    return classes
