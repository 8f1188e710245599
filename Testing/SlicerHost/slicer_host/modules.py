"""Stand-ins for modules, their manager and the choice of one."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import slicer
from PySide6 import QtCore, QtWidgets

from slicer_host.members import kept
from slicer_host.mrml_widgets import qSlicerWidget
from slicer_host.pythonqt import StandIn


class qSlicerAbstractCoreModule(StandIn, QtCore.QObject):
    def __init__(self, name, logic=None, path=""):
        super().__init__()
        self._name = name
        self._logic = logic
        self._path = path
        self.title = name

    name = property(lambda self: self._name)
    path = property(lambda self: self._path)
    isInstalled = property(lambda self: True)
    title = kept("")
    categories = kept([])
    contributors = kept([])
    dependencies = kept([])
    associatedNodeTypes = kept([])
    helpText = kept("")
    acknowledgementText = kept("")
    hidden = kept(False)
    index = kept(-1)

    def logic(self):
        return self._logic

    def mrmlScene(self):
        return slicer.mrmlScene


class qSlicerAbstractModule(qSlicerAbstractCoreModule):
    icon = kept(None)


class qSlicerLoadableModule(qSlicerAbstractModule):
    """A module of C++: its logic without a panel."""

    _widget = None

    def widgetRepresentation(self):
        return None


class qSlicerScriptedLoadableModule(qSlicerLoadableModule):
    """A module in Python."""

    extensions = kept([])

    def __init__(self, path: Path):
        logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        super().__init__(path.stem, logic, str(path))

    def widgetRepresentation(self):
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self):
        widget = qSlicerScriptedLoadableModuleWidget(self._name)
        widget.reload()
        return widget


class qSlicerAbstractModuleWidget(qSlicerWidget):
    _entered = False
    isEntered = property(lambda self: self._entered)

    def enter(self):
        self._entered = True

    def exit(self):
        self._entered = False


class qSlicerScriptedLoadableModuleWidget(qSlicerAbstractModuleWidget):
    """A panel's outermost widget; passes on what happens to it to the Python object."""

    def __init__(self, module_name):
        super().__init__()
        self._module_name = module_name
        self._python = None
        QtWidgets.QVBoxLayout(self)

    moduleName = property(lambda self: self._module_name)

    def reload(self):
        """Make the Python object anew from what is loaded."""
        self.setMRMLScene(slicer.mrmlScene)
        name = f"{self._module_name}Widget"
        self._python = getattr(sys.modules[self._module_name], name)(self)
        setattr(slicer.modules, name, self._python)
        self._python.setup()
        if self._entered and hasattr(self._python, "enter"):
            self._python.enter()

    def self(self):
        return self._python

    def enter(self):
        self._entered = True
        if hasattr(self._python, "enter"):
            self._python.enter()

    def exit(self):
        self._entered = False
        if hasattr(self._python, "exit"):
            self._python.exit()


class qSlicerAbstractModuleFactoryManager(StandIn, QtCore.QObject):
    def __init__(self, modules):
        super().__init__()
        self._modules = modules


class qSlicerModuleFactoryManager(qSlicerAbstractModuleFactoryManager):
    def loadedModuleNames(self):
        return list(self._modules)


class qSlicerModuleManager(StandIn, QtCore.QObject):
    def __init__(self, modules):
        super().__init__()
        self._modules = modules
        self._factory = qSlicerModuleFactoryManager(modules)

    def factoryManager(self):
        return self._factory

    def modulesNames(self):
        return list(self._modules)

    def module(self, name):
        return self._modules.get(name)


class qSlicerModuleSelectorToolBar(StandIn, QtWidgets.QToolBar):
    """Shows one panel at a time."""

    def __init__(self, modules):
        super().__init__("Module")
        self.setMovable(False)
        self._modules = modules
        self._selected = ""
        self._label = QtWidgets.QLabel()
        self.addWidget(self._label)

    selectedModule = property(lambda self: self._selected)

    def selectModule(self, name):
        module = self._modules.found.get(name)
        if module is None:
            raise ValueError(f"there is no module {name!r} among {list(self._modules.found)}")
        if name == self._selected:
            return
        self._modules.leave()
        self._selected = name
        self._label.text = f"  Module:  {module.title}  "
        if (widget := module.widgetRepresentation()) is not None:
            slicer.util.mainWindow()._panels.addWidget(widget)
            slicer.util.mainWindow()._panels.setCurrentWidget(widget)
            widget.enter()
        self._emit("moduleSelected(QString)", name)


class Modules:
    """All modules of a host: Slicer's own, of which there is the logic alone, and the scripted ones it loads."""

    def __init__(self, logics: dict[str, object]):
        self.namespace = types.SimpleNamespace()
        self.names = types.SimpleNamespace()
        self.found: dict[str, qSlicerLoadableModule] = {}
        self.manager = qSlicerModuleManager(self.found)
        self.selector = qSlicerModuleSelectorToolBar(self)
        for name, logic in logics.items():
            self._add(qSlicerLoadableModule(name, logic))

    def logic(self, name: str):
        return self.found[name].logic()

    def load(self, path: Path) -> qSlicerScriptedLoadableModule:
        """Import a scripted module's file as Slicer does and make its module object."""
        name = path.stem
        if name in self.found:
            return self.found[name]
        sys.path.insert(0, str(path.parent))
        specification = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(specification)
        try:
            specification.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            sys.path.remove(str(path.parent))
            raise
        module = qSlicerScriptedLoadableModule(path)
        self._add(module)
        setattr(self.namespace, f"{name}Instance", getattr(sys.modules[name], name)(module))
        self.manager._emit("moduleLoaded(QString)", name)
        return module

    def unload(self, name: str) -> None:
        module = self.found[name]
        if self.selector.selectedModule == name:
            self.leave()
            self.selector._selected = ""
        self.manager._emit("moduleAboutToBeUnloaded(QString)", name)
        if module._widget is not None:
            module._widget.deleteLater()
        del self.found[name]
        for attribute in (name.lower(), f"{name}Widget", f"{name}Instance"):
            vars(self.namespace).pop(attribute, None)
        del sys.modules[name]
        sys.path.remove(str(Path(module.path).parent))

    def leave(self) -> None:
        """Leave the panel that is shown."""
        module = self.found.get(self.selector.selectedModule)
        if module is not None and module._widget is not None:
            module._widget.exit()

    def _add(self, module):
        self.found[module.name] = module
        setattr(self.namespace, module.name.lower(), module)
        setattr(self.names, module.name, module.name)


def forget_importers(imported: set[str], made: list[types.ModuleType]) -> None:
    """Take out of `sys.modules` what was imported since and holds anything of the given modules, which are of one host.

    Args:
        imported: the names of all modules that were there before.
    """
    names = {module.__name__ for module in made}
    objects = set(map(id, made)) | {id(vars(module).get("tr")) for module in made}
    held = [name for name in sys.modules if name not in imported and name not in names]
    found = True
    while found:
        found = [
            name
            for name in held
            if any(
                id(value) in objects or getattr(value, "__module__", None) in names
                for value in vars(sys.modules[name]).values()
            )
        ]
        for name in found:
            package, _, child = name.rpartition(".")
            module = sys.modules.pop(name)
            if package in sys.modules and getattr(sys.modules[package], child, None) is module:
                delattr(sys.modules[package], child)
            held.remove(name)
            names.add(name)
            objects.add(id(module))
