"""Reads `.ui` files: what Qt's loader cannot read of CTK's and Slicer's widgets is taken out and done afterwards."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from slicer_host import ctk_widgets, mrml_widgets, views
from slicer_host.pythonqt import StandIn


def stand_in_widgets() -> dict[str, type]:
    """Return {class: stand-in} of all the widgets of CTK and Slicer that the host has."""
    return {
        name: member
        for module in (ctk_widgets, mrml_widgets, views)
        for name, member in vars(module).items()
        if isinstance(member, type) and issubclass(member, StandIn) and member is not StandIn
    }


class QUiLoader(QtUiTools.QUiLoader):
    """Makes stand-ins where a `.ui` file names a class of CTK or Slicer."""

    def createWidget(self, class_name, parent=None, name=""):
        made = stand_in_widgets().get(class_name)
        if made is None and not hasattr(QtWidgets, class_name):
            raise NotImplementedError(f"the test host has no {class_name}")
        if made is None:
            return QtUiTools.QUiLoader.createWidget(self, class_name, parent, name)
        widget = made(parent)
        widget.setObjectName(name)
        return widget

    def load(self, device, parent=None):
        tree = ElementTree.fromstring(bytes(device.readAll()))
        properties, connections = _take_out(tree)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        root = QtUiTools.QUiLoader.load(self, buffer, parent)
        if root is None:
            raise RuntimeError(QtUiTools.QUiLoader.errorString(self))
        widgets = {child.objectName: child for child in root.findChildren()} | {root.objectName: root}
        for name, property_name, value in properties:
            _write(widgets[name], property_name, value)
        for sender, signal, receiver, slot in connections:
            widgets[sender].connect(signal, getattr(widgets[receiver], slot.partition("(")[0]))
        return root


def _take_out(tree: ElementTree.Element) -> tuple[list, list]:
    """Remove the stand-ins' own properties and all connections, and return them."""
    properties = []
    made = stand_in_widgets()
    for widget in tree.iter("widget"):
        stand_in = made.get(widget.get("class"))
        for item in widget.findall("property") if stand_in else ():
            if item.get("stdset") != "0" and item.get("name") in stand_in._members.properties:
                properties.append((widget.get("name"), item.get("name"), item[0]))
                widget.remove(item)
    connections = []
    for group in tree.findall("connections"):
        for entry in group.iter("connection"):
            connections.append(tuple(entry.findtext(part) for part in ("sender", "signal", "receiver", "slot")))
        tree.remove(group)
    return properties, connections


def _write(widget, name, value: ElementTree.Element):
    text = value.text or ""
    if value.tag == "bool":
        setattr(widget, name, text == "true")
    elif value.tag in ("number", "double"):
        setattr(widget, name, int(text) if value.tag == "number" else float(text))
    elif value.tag == "stringlist":
        setattr(widget, name, [entry.text or "" for entry in value.iter("string")])
    elif value.tag in ("enum", "set"):
        numbers = [_enumerator(widget, part) for part in re.split(r"\s*\|\s*", text) if part]
        total = numbers[0]
        for number in numbers[1:]:
            total |= number
        setattr(widget, name, total)
    else:
        setattr(widget, name, text)


def _enumerator(widget, path: str):
    scope, _, name = path.rpartition("::")
    owner = type(widget) if not scope else getattr(QtWidgets, scope, None) or getattr(QtCore, scope, type(widget))
    return getattr(owner, name)
