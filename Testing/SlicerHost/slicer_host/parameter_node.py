"""The module `slicer.parameterNodeWrapper`: typed parameters in a MRML node, bound to widgets.

After its documentation; without parameter packs, ranges, dictionaries and the making of panels.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import MutableSequence
from dataclasses import make_dataclass
from pathlib import Path

import ctk
import qt
import slicer

SlicerParameterNamePropertyName = "SlicerParameterName"


class Validator:
    """Refuses values that a parameter must not have."""

    def validate(self, value):
        if not self._accepts(value):
            raise ValueError(f"{value!r} does not satisfy {self!r}")


def _annotation(name, *fields, accepts=None):
    """Return a class of annotations; of validators, if there is something that values must satisfy."""
    bases, namespace = ((Validator,), {"_accepts": accepts}) if accepts else ((), {})
    return make_dataclass(name, fields, bases=bases, namespace={**namespace, "__module__": __name__})


NotNone = _annotation("NotNone", accepts=lambda self, value: value is not None)
IsInstance = _annotation(
    "IsInstance", "classtype", accepts=lambda self, value: value is None or isinstance(value, self.classtype)
)
WithinRange = _annotation(
    "WithinRange", "minimum", "maximum", accepts=lambda self, value: self.minimum <= value <= self.maximum
)
Minimum = _annotation("Minimum", "minimum", accepts=lambda self, value: value >= self.minimum)
Maximum = _annotation("Maximum", "maximum", accepts=lambda self, value: value <= self.maximum)
Choice = _annotation("Choice", "choices", accepts=lambda self, value: value in self.choices)
Exclude = _annotation("Exclude", "excludedValues", accepts=lambda self, value: value not in self.excludedValues)
Default = _annotation("Default", "value")
Decimals = _annotation("Decimals", "value")
SingleStep = _annotation("SingleStep", "value")


class _Text:
    """A type that a node keeps as text."""

    def __init__(self, kind):
        self.kind = kind
        self.default = next(iter(kind)) if issubclass(kind, enum.Enum) else kind()
        self._accepted = (int, float) if kind is float else kind

    def check(self, value):
        if not isinstance(value, self._accepted) or (isinstance(value, bool) and self.kind is not bool):
            raise TypeError(f"{value!r} is no {self.kind.__name__}")

    def is_in(self, node, name):
        return bool(node.HasParameter(name))

    def write(self, node, name, value):
        node.SetParameter(name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node, name):
        text = node.GetParameter(name)
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if issubclass(self.kind, enum.Enum) else self.kind(text)


class _Node(_Text):
    """A node, or None, that the parameter node refers to."""

    default = None

    def __init__(self, classes):
        self.classes = classes

    def check(self, value):
        if value is not None and not isinstance(value, self.classes):
            raise TypeError(f"{value!r} is none of {[cls.__name__ for cls in self.classes]}")

    def write(self, node, name, value):
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)


class _List:
    """Values of one type; a change in the list that is read is written at once."""

    default = ()

    def __init__(self, element):
        self.element = element

    def check(self, values):
        for value in values:
            self.element.check(value)

    def is_in(self, node, name):
        return bool(node.HasParameter(f"{name}_len"))

    def write(self, node, name, values):
        with slicer.util.NodeModify(node):
            for index, value in enumerate(values):
                self.element.write(node, f"{name}_{index}", value)
            node.SetParameter(f"{name}_len", str(len(values)))

    def read(self, node, name):
        count = int(node.GetParameter(f"{name}_len"))
        values = [self.element.read(node, f"{name}_{index}") for index in range(count)]
        return _ObservedList(values, lambda changed: (self.check(changed), self.write(node, name, changed)))


class _ObservedList(MutableSequence):
    def __init__(self, values, save):
        self._values = values
        self._save = save

    def __len__(self):
        return len(self._values)

    def __getitem__(self, index):
        return self._values[index]

    def __setitem__(self, index, value):
        self._values[index] = value
        self._save(self._values)

    def __delitem__(self, index):
        del self._values[index]
        self._save(self._values)

    def insert(self, index, value):
        self._values.insert(index, value)
        self._save(self._values)

    def __eq__(self, other):
        return self._values == list(other)

    def __repr__(self):
        return repr(self._values)


class _Parameter:
    """A parameter's type, its validators and annotations, and its default."""

    def __init__(self, name, annotated, owner):
        kind, *annotations = typing.get_args(typing.Annotated[annotated, None])[:-1]
        self.name = name
        self.kind = kind
        self.annotated = annotated
        self.annotations = annotations
        self.storage = _storage(kind)
        default = self.annotation(Default)
        self.default = vars(owner).get(name, default.value if default else self.storage.default)

    def annotation(self, cls):
        return next((entry for entry in self.annotations if isinstance(entry, cls)), None)

    def write(self, node, value):
        self.storage.check(value)
        for entry in self.annotations:
            if isinstance(entry, Validator):
                entry.validate(value)
        self.storage.write(node, self.name, value)


def _storage(kind):
    if isinstance(kind, types.UnionType):
        raise TypeError(f"Slicer's parameter nodes do not take {kind}: a node may be None as it is")
    if typing.get_origin(kind) is list:
        return _List(_storage(typing.get_args(kind)[0]))
    options = typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)
    classes = tuple(cls for cls in options if cls is not type(None))
    if all(isinstance(cls, type) and issubclass(cls, slicer.vtkMRMLNode) for cls in classes):
        return _Node(classes)
    if kind in (str, int, float, bool, Path) or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        return _Text(kind)
    raise NotImplementedError(f"the test host keeps no parameters of type {kind}")


def parameterNodeWrapper(classtype=None):
    """Make a class with annotated attributes a view of a parameter node."""
    if classtype is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(classtype, include_extras=True)
    parameters = {name: _Parameter(name, annotated, classtype) for name, annotated in hints.items()}
    members = {name: member for name, member in vars(classtype).items() if name not in ("__dict__", "__weakref__")}
    for name in parameters:
        members[name] = property(
            lambda self, name=name: self.getValue(name), lambda self, value, name=name: self.setValue(name, value)
        )
    return type(classtype.__name__, (_ParameterNode,), {**members, "allParameters": parameters})


def isParameterNodeWrapper(classOrObj):
    cls = classOrObj if isinstance(classOrObj, type) else type(classOrObj)
    return issubclass(cls, _ParameterNode)


class _ParameterNode:
    allParameters: typing.ClassVar[dict[str, _Parameter]] = {}

    def __init__(self, parameterNode, prefix=None):
        self.parameterNode = parameterNode
        self._bindings = {}
        self._updating = False
        for parameter in self.allParameters.values():
            if not parameter.storage.is_in(parameterNode, parameter.name):
                parameter.write(parameterNode, parameter.default)

    def getValue(self, name):
        return self._parameter(name).storage.read(self.parameterNode, name)

    def setValue(self, name, value):
        self._parameter(name).write(self.parameterNode, value)

    def default(self, name):
        return Default(self._parameter(name).default)

    def dataType(self, name):
        return self._parameter(name).annotated

    def _parameter(self, name):
        if name not in self.allParameters:
            raise ValueError(f"There is no parameter {name} among {list(self.allParameters)}")
        return self.allParameters[name]

    def connectGui(self, gui):
        """Bind the widgets that have the property SlicerParameterName; return what `disconnectGui` takes."""
        widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QObject) else vars(gui).values()
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping):
        bindings = {name: _Binding(self, self._parameter(name), widget) for name, widget in mapping.items()}
        tag = len(self._bindings)
        self._bindings[tag] = (bindings, self.AddObserver("ModifiedEvent", lambda *_: self._update_widgets()))
        for binding in bindings.values():
            binding.show()
            binding.connect()
        return tag

    def disconnectGui(self, tag):
        bindings, observer = self._bindings.get(tag, ({}, None))
        if observer is not None:
            self.RemoveObserver(observer)
            self._bindings[tag] = ({}, None)
        for binding in bindings.values():
            binding.disconnect()

    def _update_widgets(self):
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for bindings, _ in list(self._bindings.values()):
                    for binding in bindings.values():
                        binding.show()
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def Modified(self):
        self.parameterNode.Modified()

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)


class _Binding:
    """A parameter and the widget that shows and sets it."""

    def __init__(self, owner, parameter, widget):
        self._owner = owner
        self._parameter = parameter
        self._widget = widget
        self._signal, self._read, self._show = _connector(widget, parameter)

    def show(self):
        self._show(self._owner.getValue(self._parameter.name))

    def connect(self):
        if self._signal:
            self._widget.connect(self._signal, self._changed)

    def disconnect(self):
        if self._signal:
            self._widget.disconnect(self._signal, self._changed)

    def _changed(self):
        if not self._owner._updating:
            with slicer.util.NodeModify(self._owner):
                self._owner.setValue(self._parameter.name, self._read())


def _connector(widget, parameter):
    """Return the signal of a widget, and functions that read and show its value as the parameter's type.

    Raises:
        RuntimeError: if Slicer binds no such type to such a widget.
    """
    cls, kind = type(widget), parameter.kind

    def attribute(name, to=lambda value: value, shown=lambda value: value):
        return lambda: to(getattr(widget, name)), lambda value: setattr(widget, name, shown(value))

    if isinstance(parameter.storage, _Node) and cls is slicer.qMRMLNodeComboBox:
        widget.nodeTypes = [node_class.__name__ for node_class in parameter.storage.classes]
        return "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode
    if kind is bool and cls in (qt.QCheckBox, qt.QPushButton):
        if cls is qt.QPushButton:
            widget.checkable = True
        return "toggled(bool)", *attribute("checked")
    if (kind is int and cls in (qt.QSpinBox, qt.QSlider)) or (
        kind is float and cls in (qt.QDoubleSpinBox, ctk.ctkSliderWidget)
    ):
        _set_range(widget, parameter)
        return f"valueChanged({'int' if kind is int else 'double'})", *attribute("value")
    if cls in (qt.QComboBox, ctk.ctkComboBox) and (isinstance(kind, enum.EnumMeta) or parameter.annotation(Choice)):
        values = list(kind) if isinstance(kind, enum.EnumMeta) else list(parameter.annotation(Choice).choices)
        widget.clear()
        widget.addItems([_label(value) for value in values])
        return "currentIndexChanged(int)", *attribute("currentIndex", values.__getitem__, values.index)
    if kind is str and cls is qt.QLineEdit:
        return "textChanged(QString)", *attribute("text")
    if kind is str and cls is qt.QTextEdit:
        return "textChanged()", widget.toPlainText, widget.setPlainText
    if kind is str and cls is qt.QLabel:
        return None, *attribute("text")
    if kind is Path and cls is ctk.ctkPathLineEdit:
        return "currentPathChanged(QString)", *attribute("currentPath", Path, str)
    raise RuntimeError(f"Slicer binds no {parameter.annotated} to a {cls.__name__}")


def _label(value):
    if isinstance(value, enum.Enum):
        return value.label() if hasattr(value, "label") else value.name
    return str(value)


def _set_range(widget, parameter):
    for annotation, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
        if (entry := parameter.annotation(annotation)) is not None:
            setattr(widget, name, entry.value)
    within, least, most = (parameter.annotation(cls) for cls in (WithinRange, Minimum, Maximum))
    unbounded = 2**31 - 1 if parameter.kind is int else 1e300
    if within is None and (least is None or most is None) and isinstance(widget, (qt.QSlider, ctk.ctkSliderWidget)):
        raise RuntimeError(f"The slider of {parameter.name} needs its bounds: annotate it with WithinRange")
    widget.minimum = within.minimum if within else least.minimum if least else -unbounded
    widget.maximum = within.maximum if within else most.maximum if most else unbounded
