"""PythonQt's rules on PySide6's objects.

Slicer reaches Qt through PythonQt, where `label.text` is a str, `obj.connect("signal(args)", callable)` connects, and a
C++ object takes no new attributes. Importing this module gives all QObjects of the process these rules; the host's own
code is written under them too. A method of C++ is still at hand on its class: `QLabel.text(label)`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import cache, partial

import shiboken6
from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets

from slicer_host.members import MEMBERS, Members

# Qt looks these virtual methods up on the object whenever it lays out a widget.
_VIRTUAL_METHODS = ("sizeHint", "minimumSizeHint")
_NATIVE = ("PySide6", "Shiboken", "slicer_host")
_NEW_ATTRIBUTE = "'{}' does not exist on {} and creating new attributes on C++ objects is not allowed"

# {class of PySide6 that finds attributes on its own: how}
_native_get: dict[type, Callable] = {}
# {address of the C++ object: [(signal, callable, what Qt calls)]}
_connections: dict[int, list[tuple[str, Callable, Callable]]] = {}


class StandIn:
    """Mixed into the Python classes that stand in for C++ classes of CTK and Slicer.

    A class takes the name, the Qt base and a part of the members of the real one; a public member that the real one
    lacks is refused when the class is made. Signals need no declaration: they are in the table of members.
    """

    _members = Members()

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if cls.__name__ not in MEMBERS or cls.__module__.partition(".")[0] != "slicer_host":
            return
        cls._members = members = Members.of(cls.__name__)
        qt_base = next((base for base in cls.__mro__ if base.__name__ == members.qt_base), None)
        if qt_base is None:
            raise TypeError(f"{cls.__name__} must be a {members.qt_base}")
        for name, member in vars(cls).items():
            # Enumerators, in no table, are in capitals; what Qt has too is overridden.
            if name.startswith("_") or name[0].isupper() or hasattr(qt_base, name):
                continue
            if name not in (members.properties if isinstance(member, property) else members.methods):
                raise TypeError(f"the real {cls.__name__} has no {type(member).__name__} {name}")

    def _emit(self, signature: str, *arguments) -> None:
        """Call what is connected to a signal of the table, in the order of connection."""
        if QtCore.QObject.signalsBlocked(self):
            return
        for signal, _, call in list(_connections.get(_address(self), ())):
            if signal == signature:
                try:
                    call(*arguments)
                except Exception:
                    sys.excepthook(*sys.exc_info())


class BoundSignal:
    """A signal as an attribute of an object: `button.clicked.connect(callable)`."""

    def __init__(self, sender: QtCore.QObject, signature: str):
        self._sender = sender
        self._signature = signature

    def connect(self, function: Callable) -> bool:
        return _connect(self._sender, self._signature, function)

    def disconnect(self, function: Callable | None = None) -> bool:
        return _disconnect(self._sender, self._signature, function)

    def emit(self, *arguments) -> None:
        name = self._signature.partition("(")[0]
        if self._signature in getattr(type(self._sender), "_members", Members()).signals:
            self._sender._emit(self._signature, *arguments)
        else:
            _plain_get(self._sender, name).emit(*arguments)

    __call__ = emit


def quit_application(application: QtCore.QCoreApplication) -> None:
    """Call what is connected to the application's end, and connect nothing to it any more: it goes on."""
    for signal, _, relay in _connections.pop(_address(application), ()):
        if signal == "aboutToQuit()":
            relay()
        if signal not in application._members.signals:
            QtCore.QObject.disconnect(application, QtCore.SIGNAL(signal), relay)


def forget_connections() -> None:
    """Drop what is connected to objects that are gone, or that only connections keep."""
    _connections.clear()


@cache
def _kind(cls: type, name: str) -> str:
    """Return how a name is found on objects of a class: python, property, signal, missing or plain."""
    for base in cls.__mro__:
        if base.__module__.startswith(("PySide6", "Shiboken")):
            break
        if name in vars(base):
            return "python"
    if issubclass(cls, StandIn):
        if any(signal.startswith(f"{name}(") for signal in cls._members.signals):
            return "signal"
        if name in cls._members.all:
            return "missing"
    if cls.staticMetaObject.indexOfProperty(name) >= 0:
        return "property"
    return "signal" if any(signal.startswith(f"{name}(") for signal in _signals(cls)) else "plain"


def _getattribute(self, name):
    if name.startswith("__") or name in _VIRTUAL_METHODS:
        return _plain_get(self, name)
    if name in _METHODS:
        return partial(_METHODS[name], self)
    kind = _kind(type(self), name)
    if name == "name" and kind == "plain":
        name, kind = "objectName", "property"
    if kind == "property":
        return QtCore.QObject.property(self, name)
    if kind == "signal":
        cls = type(self)
        known = (*getattr(cls, "_members", Members()).signals, *_signals(cls))
        return BoundSignal(self, next(signature for signature in known if signature.startswith(f"{name}(")))
    if kind == "missing":
        raise AttributeError(f"the test host does not offer {type(self).__name__}.{name}, which Slicer has")
    try:
        return _plain_get(self, name)
    except AttributeError:
        if name in _dynamic_properties(self):
            return QtCore.QObject.property(self, name)
        raise


def _setattr(self, name, value):
    cls = type(self)
    if name.startswith("_") and cls.__module__.partition(".")[0] != "PySide6":
        _plain_set(self, name, value)
        return
    kind = _kind(cls, name)
    if name == "name" and kind == "plain":
        name, kind = "objectName", "property"
    if kind == "property":
        _write_property(self, name, value)
    elif kind == "python":
        if _is_native(cls) and not isinstance(inspect.getattr_static(cls, name), property):
            raise AttributeError(f"Slot '{name}' can not be overwritten on {cls.__name__}")
        _plain_set(self, name, value)
    elif name in _dynamic_properties(self):
        QtCore.QObject.setProperty(self, name, value)
    elif isinstance(value, QtCore.SignalInstance):
        _plain_set(self, name, value)  # PySide6 keeps those that it made
    elif isinstance(value, QtCore.QObject) and QtCore.QObject.objectName(value) == name:
        pass  # PySide6's loader of .ui files would make each child an attribute of the root
    elif _is_native(cls):
        raise AttributeError(_NEW_ATTRIBUTE.format(name, cls.__name__))
    else:
        _plain_set(self, name, value)


def _plain_get(self, name):
    """Get an attribute as PySide6 does."""
    return _getter(type(self))(self, name)


@cache
def _getter(cls: type) -> Callable:
    return next(_native_get[base] for base in cls.__mro__ if base in _native_get)


def _plain_set(self, name, value):
    """Set an attribute as any Python object does; `object.__setattr__` refuses types of other libraries."""
    descriptor = inspect.getattr_static(type(self), name, None)
    if hasattr(type(descriptor), "__set__"):
        descriptor.__set__(self, value)
    else:
        _plain_get(self, "__dict__")[name] = value


def _is_native(cls: type) -> bool:
    """Tell whether a class is, or stands in for, one of C++, unlike those that a panel derives."""
    return cls.__module__.partition(".")[0] in _NATIVE


def _dynamic_properties(self) -> list[str]:
    return [bytes(name).decode() for name in QtCore.QObject.dynamicPropertyNames(self)]


def _write_property(self, name, value):
    meta = type(self).staticMetaObject
    kind = meta.property(meta.indexOfProperty(name))
    if not kind.isWritable():
        raise AttributeError(f"Property '{name}' of type '{kind.typeName()}' is not writable")
    if value is None or not QtCore.QObject.setProperty(self, name, value):
        raise AttributeError(
            f"Property '{name}' of type '{kind.typeName()}' does not accept an object of type "
            f"{type(value).__name__} ({value!r})"
        )


@cache
def _signals(cls: type) -> tuple[str, ...]:
    """Return the signatures of the signals that Qt knows on a class."""
    meta = cls.staticMetaObject
    methods = [meta.method(index) for index in range(meta.methodCount())]
    return tuple(
        bytes(method.methodSignature()).decode()
        for method in methods
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal
    )


def _address(self) -> int:
    return shiboken6.getCppPointer(self)[0]


def _connect(self, signal, *rest):
    if not isinstance(signal, str):
        # PySide's own code connects with the sender as first argument.
        return QtCore.QObject.connect(signal, *rest)
    function = rest[0] if len(rest) == 1 else getattr(rest[0], rest[1].partition("(")[0])
    if not callable(function):
        raise ValueError(f"{type(function).__name__} cannot be connected to {signal}: it is not callable")
    signal = _signature(self, signal)
    arguments = signal[signal.index("(") + 1 : -1]
    count = arguments.count(",") + 1 if arguments else 0
    relay = _RELAYS[count](partial(_call_with_fewer, function, _accepted(function)))
    address = _address(self)
    if address not in _connections:
        _connections[address] = []
        QtCore.QObject.connect(self, QtCore.SIGNAL("destroyed()"), lambda: _connections.pop(address, None))
    _connections[address].append((signal, function, relay))
    if signal not in getattr(type(self), "_members", Members()).signals:
        QtCore.QObject.connect(self, QtCore.SIGNAL(signal), relay)
    return True


def _disconnect(self, signal, *rest):
    if not isinstance(signal, str):
        return QtCore.QObject.disconnect(signal, *rest)
    function = rest[0] if rest else None
    signal = _signature(self, signal)
    kept, dropped = [], []
    for connection in _connections.get(_address(self), ()):
        matches = connection[0] == signal and (function is None or connection[1] == function)
        (dropped if matches else kept).append(connection)
    if dropped:
        _connections[_address(self)] = kept
    if signal not in getattr(type(self), "_members", Members()).signals:
        for _, _, relay in dropped:
            QtCore.QObject.disconnect(self, QtCore.SIGNAL(signal), relay)
    return bool(dropped)


def _signature(self, signal: str) -> str:
    """Return a signal's signature as Qt writes it.

    Raises:
        ValueError: if the object has no such signal.
    """
    members = getattr(type(self), "_members", Members())
    squeezed = signal.replace(" ", "")
    if squeezed in members.signals:
        return squeezed
    normal = bytes(QtCore.QMetaObject.normalizedSignature(signal)).decode()
    if type(self).staticMetaObject.indexOfSignal(normal) < 0:
        raise ValueError(f"{type(self).__name__} has no signal {signal}")
    return normal


def _accepted(function: Callable) -> int | None:
    """Return how many arguments a signal gives a callable, at most; None for all.

    As PythonQt: functions and methods get as many as they name, defaults included, others get all.
    """
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return None
    return code.co_argcount - inspect.ismethod(function)


def _call_with_fewer(function, accepted, *arguments):
    function(*arguments[:accepted])


# Qt counts the arguments that a callable names, to choose which it gives.
_RELAYS = (
    lambda call: lambda: call(),
    lambda call: lambda a: call(a),
    lambda call: lambda a, b: call(a, b),
    lambda call: lambda a, b, c: call(a, b, c),
    lambda call: lambda a, b, c, d: call(a, b, c, d),
)


def _find_children(self, kind=QtCore.QObject, name="", options=QtCore.Qt.FindChildrenRecursively):
    by_name = isinstance(kind, str)
    found = QtCore.QObject.findChildren(self, QtCore.QObject if by_name else kind, name or None, options)
    return [child for child in found if not by_name or QtCore.QObject.inherits(child, kind)]


def _find_child(self, kind=QtCore.QObject, name=""):
    return next(iter(_find_children(self, kind, name)), None)


def _class_name(self):
    return QtCore.QObject.metaObject(self).className()


def _execute(self):
    if isinstance(self, (QtWidgets.QDialog, QtWidgets.QMenu)):
        return answer_dialog(self)
    return _plain_get(self, "exec")()


def answer_dialog(dialog: QtWidgets.QWidget):
    """Answer a dialog that waits for its user; the host puts its own answers here."""
    raise RuntimeError(f"{dialog.windowTitle!r} waits for a user, and no host answers it")


_METHODS = {
    "connect": _connect,
    "disconnect": _disconnect,
    "findChild": _find_child,
    "findChildren": _find_children,
    "className": _class_name,
    "exec": _execute,
    "exec_": _execute,
}


def _apply_rules() -> None:
    # Each class of PySide6 sets attributes on its own, some find them so too; and all are made when first asked for.
    libraries = (QtCore, QtGui, QtWidgets, QtNetwork, QtUiTools)
    found = [getattr(library, name) for library in libraries for name in dir(library)]
    classes = [cls for cls in found if isinstance(cls, type) and issubclass(cls, QtCore.QObject)]
    _native_get.update((cls, cls.__getattribute__) for cls in classes if "__getattribute__" in vars(cls))
    for cls in classes:
        cls.__setattr__ = _setattr
        if cls in _native_get:
            cls.__getattribute__ = _getattribute


_apply_rules()
