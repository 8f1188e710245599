"""The section with the diagnostic report."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from NNMambaLib.panel.hub.engine_section import describe_worker
from NNMambaLib.panel.shared_worker import shared_worker
from NNMambaLib.support.diagnostics import diagnostic_report
from NNMambaLib.support.setup_check import Need


class DiagnosticsSection:
    """Shows and copies the diagnostic report.

    Args:
        ui: ``reportText``, ``copyReportButton``, ``diagnosticsCollapsibleButton``.
        needs: returns what the engine needs.
        machine: returns the worker's report on this machine, None where there is none yet.
    """

    def __init__(self, ui, needs: Callable[[], list[Need]], machine: Callable[[], dict | None]):
        self.ui = ui
        self._needs = needs
        self._machine = machine
        ui.copyReportButton.connect("clicked(bool)", self._copy)
        ui.diagnosticsCollapsibleButton.connect("contentsCollapsed(bool)", self._collapsed)

    def report(self) -> str:
        """Return the report on the present state."""
        worker = shared_worker()
        return diagnostic_report(
            application=f"3D Slicer {slicer.app.applicationVersion}",
            needs=self._needs(),
            machine=self._machine() or "not reported by the engine",
            worker=describe_worker(worker),
            last_error="" if worker.last_error is None else str(worker.last_error),
            log=worker.log,
            private=worker.volume_names | _names_in_scene(),
        )

    def _collapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self.ui.reportText.setPlainText(self.report())

    def _copy(self, checked: bool = False) -> None:
        report = self.report()
        self.ui.reportText.setPlainText(report)
        qt.QApplication.clipboard().setText(report)
        slicer.util.showStatusMessage(_("The diagnostic report was copied."), 3000)


def _names_in_scene() -> set[str]:
    return {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode") if node.GetName()}
