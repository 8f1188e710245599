"""The section on the installed models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from NNMambaLib.errors import Cancelled, NNMambaError
from NNMambaLib.files import make_folder
from NNMambaLib.models.catalogue import find_package, installed_packages, user_folder
from NNMambaLib.models.installation import delete_package, is_deletable
from NNMambaLib.models.package import ModelPackage, open_package
from NNMambaLib.panel.hub.tables import fill_table
from NNMambaLib.panel.shared_worker import shared_worker
from NNMambaLib.runtime.units import format_bytes
from NNMambaLib.worker.job import WorkerJob
from NNMambaLib.worker.questions import Question


@dataclass(frozen=True)
class _Row:
    """A model of the table; `package` is None where it cannot be read, for the reason `fault`."""

    name: str
    path: Path
    package: ModelPackage | None
    fault: str = ""


class ModelsSection:
    """Lists the installed models, shows their cards, installs and deletes models.

    Args:
        ui: ``modelsTable``, ``cardButton``, ``openFolderButton``, ``deleteButton``, ``installFolderButton``,
            ``installZipButton``, ``modelsMessageLabel``.
        can_install: returns whether the engine can run, which verifies packages.
    """

    def __init__(self, ui, can_install: Callable[[], bool]):
        self.ui = ui
        self._can_install = can_install
        self._rows: list[_Row] = []
        self._job: WorkerJob | None = None
        ui.modelsTable.connect("itemSelectionChanged()", self._selected)
        ui.cardButton.connect("clicked(bool)", self._show_card)
        ui.openFolderButton.connect("clicked(bool)", self._open_folder)
        ui.deleteButton.connect("clicked(bool)", self._delete)
        ui.installFolderButton.connect("clicked(bool)", self._install_folder)
        ui.installZipButton.connect("clicked(bool)", self._install_zip)
        self._say("")

    def refresh(self) -> None:
        """List what is installed now."""
        self._rows = [_read(name, path) for name, path in installed_packages().items()]
        cells = [_cells(row) for row in self._rows]
        fill_table(self.ui.modelsTable, cells, [_tip(row) for row in self._rows])
        self._selected()

    def close(self) -> None:
        """Stop waiting for an installation."""
        if self._job is not None:
            self._job.on_finished = self._job.on_failed = lambda answer: None
            self._job.cancel()

    def _selection(self) -> _Row | None:
        row = self.ui.modelsTable.currentRow()
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def _selected(self) -> None:
        row = self._selection()
        can_install = self._can_install() and self._job is None
        for button in (self.ui.installFolderButton, self.ui.installZipButton):
            button.enabled = can_install
        self.ui.openFolderButton.toolTip = (
            _("Open the folder of your own models.") if row is None else _("Open the folder of the selected model.")
        )
        self.ui.cardButton.enabled = row is not None and row.package is not None
        self.ui.deleteButton.enabled = row is not None and is_deletable(row.path)
        if row is None:
            self.ui.deleteButton.toolTip = _("Select a model first.")
        elif not is_deletable(row.path):
            self.ui.deleteButton.toolTip = _("This model comes with NNMamba and cannot be deleted.")
        else:
            self.ui.deleteButton.toolTip = _("Delete the selected model.")

    def _say(self, text: str) -> None:
        self.ui.modelsMessageLabel.text = text
        self.ui.modelsMessageLabel.visible = bool(text)

    def _show_card(self, checked: bool = False) -> None:
        row = self._selection()
        if row is None or row.package is None:
            return
        package = row.package
        try:
            show_text(package.manifest.title or package.manifest.name, card_text(package))
        except NNMambaError as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("NNMamba"))

    def _open_folder(self, checked: bool = False) -> None:
        row = self._selection()
        folder = user_folder() if row is None else row.path if row.path.is_dir() else row.path.parent
        try:
            make_folder(folder)
        except NNMambaError as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("NNMamba"))
            return
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))

    def _delete(self, checked: bool = False) -> None:
        row = self._selection()
        if row is None:
            return
        asked = _("Delete the model {name} from {path}?").format(name=row.name, path=row.path)
        if not slicer.util.confirmYesNoDisplay(asked, windowTitle=_("Delete model")):
            return
        try:
            delete_package(row.name)
        except NNMambaError as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("NNMamba"))
        else:
            self._say(_("Deleted {name}.").format(name=row.name))
        self.ui.modelsTable.clearSelection()
        self.ui.modelsTable.setCurrentCell(-1, -1)
        self.refresh()

    def _install_folder(self, checked: bool = False) -> None:
        path = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of a model package"))
        if path:
            self.install(path)

    def _install_zip(self, checked: bool = False) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Zip file of a model package"), "", _("Model packages (*.zip)")
        )
        if path:
            self.install(path)

    def install(self, path: str | Path) -> None:
        """Let the worker verify and copy a package; ask before it replaces another."""
        try:
            manifest = open_package(path).manifest
            replaced = installed_packages().get(manifest.name)
            if replaced is not None and not _confirm_replacement(manifest, _read(manifest.name, replaced)):
                return
        except NNMambaError as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("NNMamba"))
            return
        question = Question("install", {"path": str(path), "replace": replaced is not None})
        self._say(_("Verifying {name} ...").format(name=manifest.name))
        self._job = shared_worker().submit(question, on_finished=self._installed, on_failed=self._failed)
        self._selected()

    def _installed(self, answer: dict[str, Any]) -> None:
        self._job = None
        message = _("Installed {name} {version}.").format(name=answer["name"], version=answer["version"])
        if answer["left_out"]:
            message += " " + _("Left out as no part of a package: {names}.").format(names=", ".join(answer["left_out"]))
        self._say(message)
        self.refresh()

    def _failed(self, error: NNMambaError) -> None:
        self._job = None
        self._say(str(error))
        self._selected()
        if not isinstance(error, Cancelled):
            slicer.util.errorDisplay(str(error), windowTitle=_("NNMamba"))


def card_text(package: ModelPackage) -> str:
    """Return a model's card; where it has none, what its manifest says."""
    manifest = package.manifest
    return package.card() or f"# {manifest.title}\n\n{manifest.description}\n\n{manifest.intended_use}\n"


def show_text(title: str, markdown: str) -> None:
    """Show Markdown in a dialog."""
    dialog = qt.QDialog(slicer.util.mainWindow())
    dialog.windowTitle = title
    layout = qt.QVBoxLayout(dialog)
    browser = qt.QTextBrowser()
    browser.objectName = "cardBrowser"
    browser.accessibleName = _("Model card")
    browser.openExternalLinks = True
    # Qt before 5.14 knows no Markdown.
    if hasattr(browser, "setMarkdown"):
        browser.setMarkdown(markdown)
    else:
        browser.setPlainText(markdown)
    buttons = qt.QDialogButtonBox()
    buttons.setStandardButtons(qt.QDialogButtonBox.Close)
    buttons.connect("rejected()", dialog.reject)
    layout.addWidget(browser)
    layout.addWidget(buttons)
    dialog.resize(720, 640)
    dialog.exec_()
    dialog.deleteLater()


def _confirm_replacement(manifest, replaced: _Row) -> bool:
    version = replaced.package.manifest.version if replaced.package is not None else _("damaged")
    text = _("Your models get {name} {version}. It takes the place of {name} {replaced}. Go on?")
    return slicer.util.confirmYesNoDisplay(
        text.format(name=manifest.name, version=manifest.version, replaced=version), windowTitle=_("Replace model")
    )


def _read(name: str, path: Path) -> _Row:
    try:
        return _Row(name, path, find_package(path))
    except NNMambaError as error:
        return _Row(name, path, None, str(error))
    except ImportError:
        return _Row(name, path, None, _("Set up NNMamba first."))


def _tip(row: _Row) -> str:
    return row.fault if row.package is None else f"{row.path}\n{row.package.manifest.licence}".rstrip()


def _cells(row: _Row) -> list[str]:
    where = _("yours") if is_deletable(row.path) else _("bundled")
    if row.package is None:
        return [row.name, row.fault, "", "", where, ""]
    manifest = row.package.manifest
    size = format_bytes(row.package.size())
    return [row.name, _(manifest.task), manifest.version, size, where, manifest.licence or _("not stated")]
