"""The section that runs the bundled models on the bundled sample volume."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
from slicer.i18n import tr as _

from NNMambaLib.errors import NNMambaError
from NNMambaLib.panel.hub.tables import fill_table
from NNMambaLib.panel.shared_worker import shared_worker
from NNMambaLib.panel.task_panel import describe_progress
from NNMambaLib.progress import Progress
from NNMambaLib.worker.self_test import SelfTest, Trial, Verdict

_MARKS = {
    Verdict.WAITING: "",
    Verdict.RUNNING: "\N{HORIZONTAL ELLIPSIS}",
    Verdict.PASSED: "\N{CHECK MARK}",
    Verdict.FAILED: "\N{MULTIPLICATION SIGN}",
    Verdict.CANCELLED: "\N{EN DASH}",
}


class SelfTestSection:
    """Starts, cancels and shows the self-test; the scene stays as it is.

    Args:
        ui: ``selfTestStateLabel``, ``selfTestButton``, ``selfTestProgressBar``, ``selfTestTable``.
    """

    def __init__(self, ui):
        self.ui = ui
        self.test: SelfTest | None = None
        ui.selfTestButton.connect("clicked(bool)", self._run_or_cancel)
        ui.selfTestProgressBar.visible = False
        fill_table(ui.selfTestTable, [])
        self._say("")

    @property
    def running(self) -> bool:
        return self.test is not None and self.test.running

    def refresh(self, can_run: bool) -> None:
        """Show whether the test can run."""
        self.ui.selfTestButton.enabled = can_run or self.running
        self.ui.selfTestButton.toolTip = (
            _("Run every bundled model on the bundled sample volume. The scene stays as it is.")
            if can_run
            else _("Set up NNMamba first.")
        )

    def close(self) -> None:
        """Cancel a running test and stop showing it."""
        if self.test is not None:
            self.test.on_changed = lambda progress: None
            self.test.cancel()

    def _run_or_cancel(self, checked: bool = False) -> None:
        if self.test is not None and self.test.running:
            self.test.cancel()
            if self.test.running:
                self.ui.selfTestButton.text = _("Stop at once")
                self._say(_("Cancelling ..."))
            return
        try:
            self.test = SelfTest(shared_worker(), self._changed)
        except NNMambaError as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("NNMamba"))
            return
        self.ui.selfTestButton.text = _("Cancel")
        self.ui.selfTestProgressBar.visible = True
        self.test.start()

    def _changed(self, progress: Progress | None) -> None:
        if progress is not None:
            known = progress.total > 1
            self.ui.selfTestProgressBar.setRange(0, progress.total if known else 0)
            self.ui.selfTestProgressBar.value = progress.done
            self._say(describe_progress(progress))
            return
        self.ui.selfTestProgressBar.setRange(0, 0)
        assert self.test is not None
        rows = []
        for trial in self.test.trials:
            verdict = f"{_MARKS[trial.verdict]} {_(trial.verdict.value)}".strip()
            seconds = "" if trial.seconds is None else f"{trial.seconds:.1f}"
            rows.append([trial.package.manifest.name, verdict, seconds, trial.outcome])
        fill_table(self.ui.selfTestTable, rows)
        if not self.test.running:
            self._end(self.test.trials)

    def _end(self, trials: Sequence[Trial]) -> None:
        self.ui.selfTestProgressBar.visible = False
        self.ui.selfTestButton.text = _("&Run self-test")
        passed = sum(trial.verdict is Verdict.PASSED for trial in trials)
        self._say(_("{passed} of {count} models passed.").format(passed=passed, count=len(trials)))

    def _say(self, text: str) -> None:
        self.ui.selfTestStateLabel.text = text
        self.ui.selfTestStateLabel.visible = bool(text)
