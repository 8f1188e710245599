"""The host: a scene with Slicer's logics, an application with PythonQt's rules, and the panels in it."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
from PySide6 import QtCore, QtWidgets

from NNMambaLib.scene.headless import headless_application, read_mrb, write_mrb
from slicer_host import pythonqt
from slicer_host.application import application, qSlicerIOManager, qSlicerMainWindow
from slicer_host.dialogs import Dialogs, Shown
from slicer_host.failures import Failures
from slicer_host.immortal_none import make_none_immortal
from slicer_host.layout import qSlicerLayoutManager
from slicer_host.modules import (
    Modules,
    forget_importers,
    qSlicerAbstractModuleWidget,
    qSlicerScriptedLoadableModule,
    qSlicerScriptedLoadableModuleWidget,
)
from slicer_host.observers import stop_observing
from slicer_host.packaging_module import packaging_module
from slicer_host.qt_module import QtModule
from slicer_host.ui_loader import stand_in_widgets
from slicer_host.views import draw_views

ROOT = Path(__file__).parents[3]
_HERE = Path(__file__).parent
_MORE_LOGICS = {
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Colors": "vtkSlicerColorLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
}
# Of which there is no more than that they can be selected.
_WITHOUT_LOGIC = ("Data", "SampleData", "SegmentEditor", "Welcome")
_WINDOW_WIDTH = 1600
_WINDOW_HEIGHTS = (1000, 1400)
_BARS_HEIGHT = 60
_PAUSE_SECONDS = 0.005
_BEAT_MILLISECONDS = 5


class SlicerHost:
    """Runs panels: ``with SlicerHost() as host: widget = host.open("NNMambaSegment")``.

    Attributes:
        scene: the scene, `slicer.mrmlScene`.
        dialogs: the answers to dialogs and those that were shown.
        layout: the layout manager with the views, `slicer.app.layoutManager()`.
        opened_urls: what was to be opened in a browser or file manager.
        installed: what pip was asked to install; nothing ever is.
        restarts: how often the application was to be restarted.
    """

    def __init__(self):
        self.failures = Failures()
        self.dialogs = Dialogs(self.failures.report)
        self.opened_urls: list[str] = []
        self.installed: list[list[str]] = []
        self.restarts = 0
        self._stack = ExitStack()

    def __enter__(self) -> SlicerHost:
        make_none_immortal()
        self._app = application()
        with ExitStack() as stack:
            self.application_logic = stack.enter_context(headless_application())
            self.scene = self.application_logic.GetMRMLScene()
            self._set_settings()
            self._app._host = self
            stack.callback(setattr, self._app, "_host", None)
            self.failures.install()
            stack.callback(self.failures.remove)
            pythonqt.answer_dialog = self.dialogs.execute
            self._install_modules(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        with self._stack:
            self._try(pythonqt.quit_application, self._app)
            for name in [name for name, module in self.modules.found.items() if module.path]:
                self._try(self.close_module, name)
            self.main_window.close()
            self.main_window.deleteLater()
            self.layout._close()
            self.process_events()
            nodes = [self.scene.GetNthNode(index) for index in range(self.scene.GetNumberOfNodes())]
            stop_observing(self.scene, *nodes)
            pythonqt.forget_connections()
            gc.collect()
            if error is None:
                self.failures.raise_found()
                self.dialogs.check_all_shown()

    def _try(self, function, *arguments):
        try:
            function(*arguments)
        except Exception as failure:
            self.failures.report(failure)

    def open(self, module: str | Path):
        """Load a scripted module, show its panel and return its ScriptedLoadableModuleWidget.

        Modules of this repository that it depends on are loaded too.

        Args:
            module: name of a module of this repository, or path of a module's file.
        """
        path = Path(module) if str(module).endswith(".py") else ROOT / module / f"{module}.py"
        for name in self.modules.load(path.absolute()).dependencies:
            if (needed := ROOT / name / f"{name}.py").is_file():
                self.modules.load(needed)
        self.main_window.show()
        slicer.util.selectModule(path.stem)
        self.process_events()
        self.failures.raise_found()
        return slicer.util.getModuleWidget(path.stem)

    def close_module(self, name: str) -> None:
        """Leave a module's panel, clean it up and unload the module, as when Slicer closes."""
        self.modules.unload(name)
        self.process_events()

    def reload(self, name: str):
        """Reload a module as its button in developer mode does, and return the new ScriptedLoadableModuleWidget."""
        slicer.util.reloadScriptedModule(name)
        self.process_events()
        self.failures.raise_found()
        return slicer.util.getModuleWidget(name)

    def process_events(self) -> None:
        """Let Qt do what is due, deletions included."""
        self._app.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)

    def wait(self, condition: Callable[[], object] = lambda: True, seconds: float = 10) -> None:
        """Let events happen until a condition holds.

        Raises:
            TimeoutError: if it does not hold in time.
            BaseException: what a slot, a timer or an observer raised meanwhile.
        """
        end = time.monotonic() + seconds
        while True:
            self.process_events()
            self.failures.raise_found()
            if condition():
                return
            if time.monotonic() > end:
                raise TimeoutError(f"the condition does not hold after {seconds} s")
            time.sleep(_PAUSE_SECONDS)

    @contextmanager
    def heartbeat(self) -> Iterator[Heartbeat]:
        """Measure how long the block, and the waiting in it, keeps Qt from handling events."""
        beat = Heartbeat()
        timer = QtCore.QTimer()
        timer.setTimerType(QtCore.Qt.PreciseTimer)
        timer.setInterval(_BEAT_MILLISECONDS)
        timer.connect("timeout()", beat._beat)
        beat._start()
        timer.start()
        try:
            yield beat
            self.process_events()
        finally:
            timer.stop()
            beat._beat()

    def save_scene(self, path: str | Path) -> None:
        """Write the scene to a ``.mrb`` file."""
        slicer.app.coreIOManager().addDefaultStorageNodes()
        write_mrb(self.scene, path)

    def load_scene(self, path: str | Path) -> None:
        """Replace the scene by that of a ``.mrb`` file."""
        self.scene.Clear(0)
        read_mrb(self.scene, path)
        self.process_events()

    def screenshot(
        self, path: str | Path, module: str | None = None, views: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        """Write a PNG of the panel beside the views, or of the panel alone in all its height.

        Args:
            module: whose panel is shown; by default the one that is.
            size: of the window; by default high enough for the panel, up to a point.
        """
        if module is not None:
            slicer.util.selectModule(module)
        self.main_window.show()
        panel = self.main_window._panels.currentWidget()
        height = QtWidgets.QWidget.sizeHint(panel).height() if panel is not None else 0
        lowest, highest = _WINDOW_HEIGHTS
        self.main_window.resize(*(size or (_WINDOW_WIDTH, min(max(lowest, height + _BARS_HEIGHT), highest))))
        if not views:
            panel.resize(panel.width, height)
        self.process_events()
        shown = self.main_window if views else panel
        draw_views(shown)
        image = shown.grab()
        if not image.save(str(path)):
            raise OSError(f"{path} cannot be written")
        self.process_events()

    def _set_settings(self):
        """Give `QSettings()` an empty file of its own."""
        folder = self.application_logic.GetTemporaryPath()
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, folder)
        QtCore.QCoreApplication.setOrganizationName("slicer-host")
        QtCore.QCoreApplication.setApplicationName("Slicer")

    def _install_modules(self, stack: ExitStack):
        """Put `qt`, `ctk` and what the wheel's `slicer` lacks where panels import them; undone with the stack."""
        logics = {name: self.application_logic.GetModuleLogic(name) for name in ("Volumes", "Segmentations", "Markups")}
        logics["Tables"] = self.application_logic.GetModuleLogic("Tables")
        for name, class_name in _MORE_LOGICS.items():
            logics[name] = logic = getattr(slicer, class_name)()
            logic.SetMRMLApplicationLogic(self.application_logic)
            self.application_logic.SetModuleLogic(name, logic)
            logic.SetMRMLScene(self.scene)
        widgets = stand_in_widgets()
        ctk = types.ModuleType("ctk")
        vars(ctk).update({name: made for name, made in widgets.items() if name.startswith("ctk")})
        i18n = types.ModuleType("slicer.i18n")
        i18n.tr = i18n.translate = lambda *arguments: arguments[-1]
        qt = QtModule(self.dialogs, self.opened_urls)
        imported = set(sys.modules)
        stack.callback(lambda: forget_importers(imported, [qt, ctk, *made.values()]))
        _put(stack, sys.modules, {"qt": qt, "ctk": ctk})
        self.modules = Modules({**logics, **dict.fromkeys(_WITHOUT_LOGIC)})
        self.io_manager = qSlicerIOManager(self)
        added = {name: made for name, made in widgets.items() if not name.startswith("ctk")}
        for made in (qSlicerAbstractModuleWidget, qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget):
            added[made.__name__] = made
        added |= {"app": self._app, "mrmlScene": self.scene, "selfTests": {}}
        added |= {"modules": self.modules.namespace, "moduleNames": self.modules.names}
        _put(stack, vars(slicer), added)
        self.layout = qSlicerLayoutManager(self.application_logic)
        self.main_window = qSlicerMainWindow(self.modules.selector, self.layout.viewport())
        made = {"i18n": i18n, "packaging": packaging_module(self.installed)}
        _put(stack, sys.modules, {f"slicer.{name}": module for name, module in made.items()})
        for name, file in (("ScriptedLoadableModule", "scripted_module"), ("parameterNodeWrapper", "parameter_node")):
            specification = importlib.util.spec_from_file_location(f"slicer.{name}", _HERE / f"{file}.py")
            made[name] = importlib.util.module_from_spec(specification)
            _put(stack, sys.modules, {f"slicer.{name}": made[name]})
            specification.loader.exec_module(made[name])
        _put(stack, vars(slicer), made)
        _put(stack, vars(slicer.util), {"delayDisplay": self._delay_display})

    def _delay_display(self, message, autoCloseMsec=1000, parent=None, **options):
        """Record a message that closes by itself, without the delay."""
        self.dialogs.shown.append(Shown("delayDisplay", options.get("windowTitle", ""), message, None))
        self._app.processEvents()


class Heartbeat:
    """The longest time without a beat, in milliseconds."""

    def __init__(self):
        self.longest_ms = 0.0
        self._last = 0.0

    def _start(self):
        self._last = time.perf_counter()

    def _beat(self):
        now = time.perf_counter()
        self.longest_ms, self._last = max(self.longest_ms, (now - self._last) * 1000), now


def _put(stack: ExitStack, mapping: dict, added: dict) -> None:
    """Add entries to a mapping until the stack is left."""
    absent = object()
    for name, value in added.items():
        before = mapping.get(name, absent)
        stack.callback(mapping.pop, name, None) if before is absent else stack.callback(
            mapping.__setitem__, name, before
        )
        mapping[name] = value
