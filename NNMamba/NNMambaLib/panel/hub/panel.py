"""The hub's panel: the sections on set-up, models, machine, engine, self-test and diagnostics."""

from __future__ import annotations

from pathlib import Path

import qt

from NNMambaLib.panel.hub.diagnostics_section import DiagnosticsSection
from NNMambaLib.panel.hub.engine_section import EngineSection
from NNMambaLib.panel.hub.machine_section import MachineSection
from NNMambaLib.panel.hub.models_section import ModelsSection
from NNMambaLib.panel.hub.self_test_section import SelfTestSection
from NNMambaLib.panel.hub.setup_section import SetupSection
from NNMambaLib.panel.hub.tables import fit_table

# Between two looks at the engine's state.
_ENGINE_MS = 500


class HubPanel:
    """Puts the sections together and keeps the state of the engine up to date while the panel is shown.

    Args:
        ui: the widgets of ``NNMamba.ui``.
        requirements: the requirements file.
    """

    def __init__(self, ui, requirements: str | Path):
        self.ui = ui
        # A .ui file cannot set a label's buddy where the buddy comes later.
        ui.idleSpinBoxLabel.setBuddy(ui.idleSpinBox)
        self.setup = SetupSection(ui, requirements, self._packages_changed)
        self.models = ModelsSection(ui, lambda: self.setup.complete)
        self.machine = MachineSection(ui)
        self.engine = EngineSection(ui)
        self.self_test = SelfTestSection(ui)
        self.diagnostics = DiagnosticsSection(ui, lambda: self.setup.needs, lambda: self.machine.report)
        for name in ("setup", "models", "machine", "selfTest"):
            getattr(ui, f"{name}CollapsibleButton").connect("contentsCollapsed(bool)", self._fit_tables)
        self._timer = qt.QTimer()
        self._timer.interval = _ENGINE_MS
        self._timer.connect("timeout()", self.engine.refresh)

    def enter(self) -> None:
        """The panel is shown."""
        self.refresh()
        self.ui.setupCollapsibleButton.collapsed = self.setup.complete
        self._timer.start()

    def exit(self) -> None:
        """Another panel is shown; what runs continues."""
        self._timer.stop()

    def cleanup(self) -> None:
        """The panel is closed or reloaded."""
        self._timer.stop()
        for section in (self.models, self.machine, self.self_test):
            section.close()

    def refresh(self) -> None:
        """Update every section."""
        self.setup.refresh()
        self.models.refresh()
        self.self_test.refresh(self.setup.complete)
        self.machine.refresh(self.setup.complete)
        self.engine.refresh()

    def _fit_tables(self, collapsed: bool) -> None:
        # A collapsed section has no width yet.
        if not collapsed:
            for name in ("requirementsTable", "modelsTable", "machineTable", "selfTestTable"):
                fit_table(getattr(self.ui, name))

    def _packages_changed(self) -> None:
        self.machine.forget()
        self.refresh()
