"""The section that shows which packages are missing and installs them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from NNMambaLib.panel.hub.installer import TORCH, has_pytorch_extension, install
from NNMambaLib.panel.hub.tables import fill_table
from NNMambaLib.panel.shared_worker import close_shared_worker, shared_worker
from NNMambaLib.support.setup_check import Need, SetupError, missing_needs, platform_notice, read_needs

# Set while a set-up is under way, so that it can be resumed where Slicer ends in the middle of it.
UNDER_WAY_SETTING = "NNMamba/SetupUnderWay"


class SetupSection:
    """Shows the packages that the engine needs in Slicer's Python, and installs them.

    Args:
        ui: ``setupStateLabel``, ``requirementsTable``, ``optionalCheckBox``, ``setupButton``.
        requirements: the requirements file.
        on_installed: called after packages were installed.
    """

    def __init__(self, ui, requirements: str | Path, on_installed: Callable[[], None]):
        self.ui = ui
        self._requirements = requirements
        self._on_installed = on_installed
        self._message = ""
        self.needs: list[Need] = []
        ui.setupButton.connect("clicked(bool)", self._set_up)
        ui.optionalCheckBox.connect("toggled(bool)", self._show)

    @property
    def complete(self) -> bool:
        """Whether the engine can run."""
        return not missing_needs(self.needs, with_optional=False)

    def refresh(self) -> None:
        """Read what is installed, and show it."""
        self.needs = read_needs(self._requirements)
        if self.complete:
            qt.QSettings().remove(UNDER_WAY_SETTING)
        self._show()

    def _show(self, checked: bool = False) -> None:
        rows = []
        for need in self.needs:
            installed = need.installed or "\N{EN DASH}"
            if not need.satisfied:
                installed += f" ({_('missing') if need.installed is None else _('too old')})"
            reason = f"{_('optional')}: {_(need.reason)}" if need.optional else _(need.reason)
            rows.append([str(need.requirement), installed, reason])
        fill_table(self.ui.requirementsTable, rows)
        to_install = self._to_install()
        resumes = not self.complete and _under_way()
        self.ui.setupStateLabel.text = self._describe(resumes)
        self.ui.optionalCheckBox.visible = any(need.optional for need in missing_needs(self.needs))
        self.ui.setupButton.enabled = bool(to_install)
        self.ui.setupButton.text = _("Continue &set-up ...") if resumes else _("&Set up ...")
        self.ui.setupButton.toolTip = (
            _("Show what will be installed, and install it once you agree.") if to_install else _("Nothing is missing.")
        )

    def _to_install(self) -> list[Need]:
        return missing_needs(self.needs, self.ui.optionalCheckBox.checked)

    def _describe(self, resumes: bool) -> str:
        names = ", ".join(need.name for need in missing_needs(self.needs, with_optional=False))
        if resumes:
            state = _("The set-up was not finished. Still missing: {names}. It goes on when you press the button.")
        elif names:
            state = _("NNMamba needs packages that are missing: {names}. Nothing is installed without your word.")
        elif missing_needs(self.needs):
            state = _("NNMamba is set up. What is optional is missing.")
        else:
            state = _("NNMamba is set up.")
        notice = _(platform_notice() or "")
        return " ".join(part for part in (state.format(names=names), self._message, notice) if part)

    def _set_up(self, checked: bool = False) -> None:
        needs = self._to_install()
        if shared_worker().jobs:
            slicer.util.errorDisplay(
                _("The engine is at work: let its job end or cancel it, then set up."), windowTitle=_("Set up NNMamba")
            )
            return
        if not slicer.util.confirmOkCancelDisplay(question(needs), windowTitle=_("Set up NNMamba")):
            return
        qt.QSettings().setValue(UNDER_WAY_SETTING, True)
        self._message = ""
        # Windows cannot replace files that a process uses, and the process would go on with the old ones.
        close_shared_worker()
        try:
            self._message = " ".join(install(needs))
        except SetupError as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("Set up NNMamba"))
        self.refresh()
        self._on_installed()
        # New packages are found at once, but Slicer goes on with the old version of those already imported.
        stale = [need.name for need in needs if need.installed is not None and need.name in sys.modules]
        if stale:
            asked = _("Slicer goes on with the old version of {names} until it is restarted. Restart now?")
            if slicer.util.confirmYesNoDisplay(asked.format(names=", ".join(stale)), windowTitle=_("Set up NNMamba")):
                slicer.util.restart()


def question(needs: list[Need]) -> str:
    """Return the question that is asked before anything is installed."""
    lines = [_("These packages will be downloaded and installed into Slicer's Python:"), ""]
    lines += [f"\N{BULLET} {need.requirement}: {_(need.reason)}" for need in needs]
    lines += ["", _("numpy and SimpleITK of Slicer stay as they are.")]
    if any(need.name == TORCH for need in needs):
        lines += [""]
        if has_pytorch_extension():
            lines += [_("The PyTorch extension chooses the build of PyTorch for your graphics card: up to 3 GB.")]
        else:
            lines += [
                _(
                    "The extension PyTorch is not installed: pip takes PyTorch's standard build, which uses no "
                    "graphics card on Windows. To use one, cancel, install the extension first, and set up then."
                )
            ]
    return "\n".join([*lines, "", _("Go on?")])


def _under_way() -> bool:
    return slicer.util.toBool(qt.QSettings().value(UNDER_WAY_SETTING, False))
