"""The section on this machine's devices and backends, which the worker reports."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from NNMambaLib.errors import Cancelled, NNMambaError
from NNMambaLib.panel.hub.tables import fill_table
from NNMambaLib.panel.shared_worker import shared_worker
from NNMambaLib.support.machine_report import backend_states, form_states
from NNMambaLib.worker.job import WorkerJob
from NNMambaLib.worker.questions import Question


class MachineSection:
    """Shows what this machine offers, with the reason why a device or backend cannot be used.

    Args:
        ui: ``machineStateLabel``, ``machineTable``, ``machineButton``.
    """

    def __init__(self, ui):
        self.ui = ui
        self._job: WorkerJob | None = None
        self.report: dict[str, Any] | None = None
        ui.machineButton.connect("clicked(bool)", self.look)
        self._say("")
        fill_table(ui.machineTable, [])

    def refresh(self, can_ask: bool) -> None:
        """Ask the worker where it has not answered yet and the engine can run."""
        self.ui.machineButton.enabled = can_ask and self._job is None
        if not can_ask:
            self._say(_("Set up NNMamba first."))
        elif self.report is None and self._job is None:
            self.look()

    def forget(self) -> None:
        """Forget the last answer, which no longer holds."""
        self.report = None

    def look(self, checked: bool = False) -> None:
        """Ask the worker."""
        self.ui.machineButton.enabled = False
        self._say(_("The engine is looking ..."))
        self._job = shared_worker().submit(Question("machine"), on_finished=self._answered, on_failed=self._failed)

    def close(self) -> None:
        """Stop waiting for an answer."""
        if self._job is not None:
            self._job.on_finished = self._job.on_failed = lambda answer: None
            self._job.cancel()

    def _answered(self, report: dict[str, Any]) -> None:
        self._job, self.report = None, report
        fill_table(self.ui.machineTable, machine_rows(report))
        self._say("")
        self.ui.machineButton.enabled = True

    def _failed(self, error: NNMambaError) -> None:
        self._job = None
        self._say(_("The engine was stopped.") if isinstance(error, Cancelled) else str(error))
        self.ui.machineButton.enabled = True

    def _say(self, text: str) -> None:
        self.ui.machineStateLabel.text = text
        self.ui.machineStateLabel.visible = bool(text)


def machine_rows(report: dict[str, Any]) -> list[list[str]]:
    """Return the table's rows: devices, backends, forms of networks, versions."""
    not_there = _("cannot be used: {reason}")
    rows = [[_("Device {name}").format(name=name), state] for name, state in report["devices"].items()]
    for name, reason in report["unavailable_devices"].items():
        rows.append([_("Device {name}").format(name=name), not_there.format(reason=reason)])
    states = {_("Scan {name}").format(name=name): state for name, state in backend_states(report).items()}
    states |= {_(name): state for name, state in form_states(report).items()}
    for part, state in states.items():
        usable = state in ("in use", "available")
        rows.append([part, _(state) if usable else not_there.format(reason=state)])
    return rows + [[name, version] for name, version in report["versions"].items()]
