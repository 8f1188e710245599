"""The panel of the hub module: set-up, models, machine, engine, self-test and diagnostic report."""

import hashlib
import os
import re
import struct
import subprocess
import sys
import types
from pathlib import Path
from subprocess import CalledProcessError
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest

from NNMambaLib.models import catalogue
from NNMambaLib.support import setup_check
from NNMambaLib.support.random_package import random_manifest, write_random_package

ROOT = Path(__file__).parents[3]
FIXED = {"numpy": "2.0.2", "SimpleITK": "2.5.0"}
COMPLETE = {
    **FIXED,
    "torch": "2.6.0",
    "jsonschema": "4.23.0",
    "filelock": "3.16.0",
    "psutil": "7.0.0",
    "pydicom": "3.0.1",
    "safetensors": "0.5.0",
    "numba": "0.61.0",
}


class Environment:
    """Slicer's Python as set-up finds it, and what it was asked to install.

    Attributes:
        versions: of what is installed.
        calls: (means, requirements) in order; `constraints` that pip would have obeyed at each of them.
        broken: names whose installation fails.
    """

    def __init__(self):
        self.versions = dict(COMPLETE)
        self.calls = []
        self.constraints = []
        self.broken = set()

    def install(self, means, requirements, told=None):
        uri = os.environ["PIP_CONSTRAINT"].split()[-1]
        path = Path(url2pathname(urlparse(uri).path))
        assert told is None or Path(told) == path
        self.constraints.append(path.read_text(encoding="utf-8").split())
        self.calls.append((means, [str(requirement) for requirement in requirements]))
        for requirement in requirements:
            name = str(requirement).split(">")[0]
            if name in self.broken:
                raise CalledProcessError(1, "pip install")
            self.versions[name] = "99.0"


@pytest.fixture
def environment(host, monkeypatch):
    """An environment in which everything is installed until a test takes it away."""
    import slicer

    environment = Environment()
    monkeypatch.setattr(setup_check, "installed_version", environment.versions.get)

    def pip_ensure(requirements, constraints=None, prompt_install=True, prompt_restart=True, requester=None):
        assert not prompt_install, "the user was asked already"
        assert not prompt_restart, "the set-up is not at its end"
        assert requester == "NNMamba"
        environment.install("pip_ensure", requirements, constraints)

    monkeypatch.setattr(slicer.packaging, "pip_ensure", pip_ensure)
    return environment


@pytest.fixture
def old_slicer(environment, monkeypatch):
    """Slicer 5.10, without `slicer.packaging`."""
    import slicer

    def pip_install(arguments):
        *requirements, option, path = arguments
        assert option == "--constraint"
        environment.install("pip_install", requirements, path)

    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", pip_install)


@pytest.fixture
def pytorch_extension(environment, monkeypatch):
    import slicer

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
            environment.install("PyTorch extension", [f"torch{torchVersionRequirement}"])
            return types.ModuleType("torch")

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    monkeypatch.setattr(slicer.modules, "pytorchutils", object(), raising=False)


@pytest.fixture
def no_machine(host, monkeypatch):
    """The worker is not asked about the machine, which takes seconds."""
    from NNMambaLib.panel.hub.machine_section import MachineSection

    monkeypatch.setattr(MachineSection, "look", lambda self, checked=False: None)


@pytest.fixture
def users_models(host, tmp_path, monkeypatch):
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def tiny(tmp_path):
    manifest = random_manifest("classification", outputs=2, base_width=4, patch=(32, 32, 32), spacing=(8.0, 8.0, 8.0))
    return write_random_package(tmp_path / "tiny", manifest)


def open_panel(host):
    return host.open("NNMamba").panel


def take_away(environment, *names):
    for name in names:
        del environment.versions[name]


def rows(table):
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def select(table, name):
    table.selectRow([row[0] for row in rows(table)].index(name))


def worker_state():
    from NNMambaLib.panel.shared_worker import shared_worker

    return shared_worker().state.value


# --- set-up --------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_shown_with_its_reason_and_nothing_is_installed(host, environment, no_machine):
    take_away(environment, "torch", "numba")
    environment.versions["psutil"] = "1.0"
    panel = open_panel(host)
    shown = {row[0]: row[1:] for row in rows(panel.ui.requirementsTable)}
    assert shown["torch>=2.2"] == ["\N{EN DASH} (missing)", "runs the networks"]
    assert shown["psutil>=5.9"][0] == "1.0 (too old)"
    assert shown["numba>=0.60"][1].startswith("optional: ")
    assert shown["jsonschema>=4.17"][0] == "4.23.0"
    assert "torch, psutil" in panel.ui.setupStateLabel.text
    assert "numba" not in panel.ui.setupStateLabel.text
    assert panel.ui.setupButton.enabled
    assert not panel.ui.setupCollapsibleButton.collapsed
    assert environment.calls == []
    assert worker_state() == "stopped"


def test_complete_set_up_has_nothing_to_install(host, environment, no_machine):
    panel = open_panel(host)
    assert panel.ui.setupStateLabel.text == "NNMamba is set up."
    assert not panel.ui.setupButton.enabled
    assert panel.ui.setupButton.toolTip == "Nothing is missing."
    assert panel.ui.setupCollapsibleButton.collapsed


def test_user_is_asked_first_and_may_decline(host, environment, no_machine):
    take_away(environment, "torch", "safetensors")
    panel = open_panel(host)
    host.dialogs.answer("Cancel", "torch>=2.2: runs the networks")
    panel.ui.setupButton.click()
    assert "safetensors>=0.4" in host.dialogs.shown[-1].text
    assert "jsonschema" not in host.dialogs.shown[-1].text
    assert environment.calls == []
    assert panel.ui.setupButton.text == "&Set up ..."


def test_only_what_is_missing_is_installed_and_numpy_and_simpleitk_are_held(
    host, environment, no_machine, pytorch_extension
):
    take_away(environment, "torch", "safetensors", "numba")
    panel = open_panel(host)
    host.dialogs.answer("OK", "PyTorch extension chooses")
    panel.ui.setupButton.click()
    assert environment.calls == [
        ("PyTorch extension", ["torch>=2.2"]),
        ("pip_ensure", ["safetensors>=0.4"]),
        ("pip_ensure", ["numba>=0.60"]),
    ]
    assert environment.constraints == [["numpy==2.0.2", "SimpleITK==2.5.0"]] * 3
    assert "PIP_CONSTRAINT" not in os.environ
    assert panel.ui.setupStateLabel.text == "NNMamba is set up."
    assert not panel.ui.setupButton.enabled


def test_without_the_pytorch_extension_pip_is_taken_and_its_limit_told(host, environment, no_machine):
    take_away(environment, "torch")
    panel = open_panel(host)
    host.dialogs.answer("OK", "extension PyTorch is not installed.*no graphics card on Windows")
    panel.ui.setupButton.click()
    assert environment.calls == [("pip_ensure", ["torch>=2.2"])]


def test_slicer_5_10_installs_by_its_pip_with_the_same_constraints(host, environment, old_slicer, no_machine):
    take_away(environment, "torch", "psutil")
    panel = open_panel(host)
    host.dialogs.answer("OK")
    panel.ui.setupButton.click()
    assert environment.calls == [("pip_install", ["torch>=2.2", "psutil>=5.9"])]
    assert environment.constraints == [["numpy==2.0.2", "SimpleITK==2.5.0"]]


def test_set_up_goes_on_after_a_restart(host, environment, no_machine, pytorch_extension):
    take_away(environment, "torch", "safetensors")
    environment.broken.add("safetensors")
    panel = open_panel(host)
    host.dialogs.answer("OK", "Go on")
    host.dialogs.answer("OK", "safetensors>=0.4 cannot be installed")
    panel.ui.setupButton.click()
    host.close_module("NNMamba")
    environment.broken.clear()
    environment.calls.clear()
    panel = open_panel(host)
    assert "was not finished. Still missing: safetensors." in panel.ui.setupStateLabel.text
    assert panel.ui.setupButton.text == "Continue &set-up ..."
    assert environment.calls == []
    host.dialogs.answer("OK")
    panel.ui.setupButton.click()
    assert environment.calls == [("pip_ensure", ["safetensors>=0.4"])]
    host.close_module("NNMamba")
    take_away(environment, "safetensors")
    assert open_panel(host).ui.setupButton.text == "&Set up ..."


def test_optional_package_that_fails_stops_nothing(host, environment, no_machine):
    take_away(environment, "jsonschema", "numba")
    environment.broken.add("numba")
    panel = open_panel(host)
    host.dialogs.answer("OK")
    panel.ui.setupButton.click()
    assert panel.setup.complete
    assert "numba>=0.60 cannot be installed" in panel.ui.setupStateLabel.text


def test_optional_packages_may_be_left_out(host, environment, no_machine):
    take_away(environment, "jsonschema", "numba")
    panel = open_panel(host)
    panel.ui.optionalCheckBox.checked = False
    host.dialogs.answer("OK", "jsonschema")
    panel.ui.setupButton.click()
    assert environment.calls == [("pip_ensure", ["jsonschema>=4.17"])]
    assert not panel.ui.setupButton.enabled
    panel.ui.optionalCheckBox.checked = True
    assert panel.ui.setupButton.enabled


def test_numpy_that_was_changed_all_the_same_is_told(host, environment, no_machine, monkeypatch):
    import slicer

    take_away(environment, "jsonschema")
    monkeypatch.setattr(slicer.packaging, "pip_ensure", lambda *_, **__: environment.versions.update(numpy="1.0"))
    panel = open_panel(host)
    host.dialogs.answer("OK", "Go on")
    host.dialogs.answer("OK", "numpy of Slicer was changed")
    panel.ui.setupButton.click()


def test_restart_is_offered_where_an_old_version_is_in_use(host, environment, no_machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", sys.modules.get("psutil", types.ModuleType("psutil")))
    environment.versions["psutil"] = "1.0"
    panel = open_panel(host)
    host.dialogs.answer("OK", "psutil>=5.9")
    host.dialogs.answer("Yes", "old version of psutil.*Restart now")
    panel.ui.setupButton.click()
    assert host.restarts == 1
    assert panel.setup.complete


def test_set_up_waits_for_the_engines_job(host, environment, no_machine, users_models, tiny):
    panel = open_panel(host)
    panel.models.install(tiny.path)
    take_away(environment, "numba")
    panel.refresh()
    host.dialogs.answer("OK", "The engine is at work")
    panel.ui.setupButton.click()
    assert environment.calls == []


def test_other_extension_may_fail_in_its_own_way(host, environment, no_machine, pytorch_extension, monkeypatch):
    take_away(environment, "torch")
    monkeypatch.delattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch")
    panel = open_panel(host)
    host.dialogs.answer("OK", "Go on")
    host.dialogs.answer("OK", "torch>=2.2 cannot be installed")
    panel.ui.setupButton.click()
    assert "was not finished" in panel.ui.setupStateLabel.text


def test_opening_the_panel_imports_and_installs_nothing(host, environment, no_machine):
    take_away(environment, "torch")
    before = set(sys.modules)
    open_panel(host)
    assert not {"torch", "numba", "jsonschema"} & (set(sys.modules) - before)


def test_without_the_engine_nothing_can_be_run(host, environment, no_machine):
    take_away(environment, "torch")
    ui = open_panel(host).ui
    for button in (ui.selfTestButton, ui.machineButton, ui.installFolderButton, ui.installZipButton):
        assert not button.enabled
    assert ui.machineStateLabel.text == "Set up NNMamba first."


def test_task_panel_says_that_set_up_is_needed(host, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    ui = host.open("NNMambaSegment").lifecycle.panel.ui
    assert "Set up NNMamba first" in ui.messageLabel.text
    assert not ui.applyButton.enabled


# --- models --------------------------------------------------------------------------------------------------------


def test_models_are_listed_with_what_is_known_of_them(host, no_machine, models_folder):
    ui = open_panel(host).ui
    shown = {row[0]: row[1:] for row in rows(ui.modelsTable)}
    for package in catalogue.bundled_packages():
        manifest = package.manifest
        assert shown[manifest.name][:2] == [manifest.task, manifest.version]
        assert shown[manifest.name][3:] == ["bundled", manifest.licence]
    assert shown["random-landmarks"][3] == "yours"
    tips = [ui.modelsTable.item(row, 0).toolTip() for row in range(ui.modelsTable.rowCount)]
    assert f"{models_folder / 'random-landmarks'}\nApache-2.0" in tips


def test_damaged_model_is_listed_with_its_fault(host, no_machine, users_models):
    (users_models / "broken").mkdir(parents=True)
    (users_models / "broken" / "model.json").write_text("{}", encoding="utf-8")
    ui = open_panel(host).ui
    select(ui.modelsTable, "broken")
    assert "does not follow the schema" in rows(ui.modelsTable)[ui.modelsTable.currentRow()][1]
    assert not ui.cardButton.enabled
    assert ui.deleteButton.enabled


def test_bundled_model_cannot_be_deleted_and_the_button_says_why(host, no_machine):
    ui = open_panel(host).ui
    assert not ui.deleteButton.enabled
    assert ui.deleteButton.toolTip == "Select a model first."
    select(ui.modelsTable, catalogue.bundled_packages()[0].manifest.name)
    assert not ui.deleteButton.enabled
    assert "comes with NNMamba" in ui.deleteButton.toolTip


def test_model_is_deleted_once_the_user_agrees(host, no_machine, users_models, tiny):
    users_models.mkdir()
    tiny.path.rename(users_models / "mine")
    ui = open_panel(host).ui
    select(ui.modelsTable, "mine")
    host.dialogs.answer("No", "Delete the model mine")
    ui.deleteButton.click()
    assert (users_models / "mine").is_dir()
    host.dialogs.answer("Yes", "Delete the model mine")
    ui.deleteButton.click()
    assert not (users_models / "mine").exists()
    assert "mine" not in [row[0] for row in rows(ui.modelsTable)]
    assert ui.modelsMessageLabel.text == "Deleted mine."
    assert not ui.deleteButton.enabled


def test_model_is_verified_and_installed_by_the_worker_and_replaced_only_on_demand(
    host, no_machine, users_models, tiny
):
    panel = open_panel(host)
    name = tiny.manifest.name
    host.dialogs.answer(str(tiny.path), "Folder of a model package")
    panel.ui.installFolderButton.click()
    assert not panel.ui.installZipButton.enabled
    host.wait(lambda: "Installed" in panel.ui.modelsMessageLabel.text, 120)
    assert (users_models / name / "weights.safetensors").is_file()
    assert name in [row[0] for row in rows(panel.ui.modelsTable)]
    host.dialogs.answer(str(tiny.path), "Folder of a model package")
    host.dialogs.answer("No", f"takes the place of {name} 0.0.0")
    panel.ui.installFolderButton.click()
    (tiny.path / "weights.safetensors").write_bytes(b"damaged")
    host.dialogs.answer(str(tiny.path), "Folder of a model package")
    host.dialogs.answer("Yes", f"takes the place of {name} 0.0.0")
    host.dialogs.answer("OK", "altered or damaged")
    panel.ui.installFolderButton.click()
    host.wait(lambda: "altered" in panel.ui.modelsMessageLabel.text, 120)
    assert panel.ui.installZipButton.enabled
    catalogue.find_package(name).load()


def test_file_that_is_no_package_is_refused(host, no_machine, users_models, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no zip")
    panel = open_panel(host)
    host.dialogs.answer(str(tmp_path / "x.zip"), "Zip file")
    host.dialogs.answer("OK", "not a model package")
    panel.ui.installZipButton.click()
    host.dialogs.answer("", "Zip file")
    panel.ui.installZipButton.click()
    assert worker_state() == "stopped"


def test_card_is_shown_and_folder_opened(host, no_machine):
    ui = open_panel(host).ui
    package = catalogue.bundled_packages()[0]
    select(ui.modelsTable, package.manifest.name)
    seen = []

    def look(dialog):
        import qt

        seen.append(dialog.findChild(qt.QTextBrowser).toPlainText())
        return 0

    host.dialogs.answer(look, re.escape(package.manifest.title))
    ui.cardButton.click()
    # A heading as Markdown shows it, without its sign.
    heading = package.card().splitlines()[0]
    assert heading.startswith("# ")
    assert seen[0].startswith(heading.removeprefix("# "))
    ui.openFolderButton.click()
    assert host.opened_urls == [package.path.as_uri()]


# --- machine, engine, self-test --------------------------------------------------------------------------------------


def test_machine_is_told_by_the_worker_and_torch_is_not_imported_here(models_folder):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from slicer_host import SlicerHost
with SlicerHost() as host:
    panel = host.open("NNMamba").panel
    host.wait(lambda: panel.machine.report is not None, 120)
    table = panel.ui.machineTable
    for row in range(table.rowCount):
        print(table.item(row, 0).text(), "|", table.item(row, 1).text())
    print("torch imported:", "torch" in sys.modules)
    from NNMambaLib.panel.shared_worker import close_shared_worker
    close_shared_worker()
"""
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "NNMamba"), "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", code, str(ROOT / "Testing" / "SlicerHost")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert "torch imported: False" in result.stdout, result.stderr
    shown = dict(line.split(" | ", 1) for line in result.stdout.splitlines() if " | " in line)
    assert "thread" in shown["Device cpu"]
    assert shown["Scan torch"] in ("available", "in use")
    import torch

    assert shown["torch"] == torch.__version__
    if not torch.cuda.is_available():
        assert shown["Device cuda"].startswith("cannot be used: ")
        assert shown["Scan mamba-ssm"].startswith("cannot be used: ")
        assert shown["Folded networks"] == "in use"


def test_engine_can_be_stopped(host, no_machine, users_models, tiny):
    panel = open_panel(host)
    assert panel.ui.engineStateLabel.text.startswith("Stopped")
    assert not panel.ui.stopButton.enabled
    panel.models.install(tiny.path)
    host.wait(lambda: panel.ui.engineStateLabel.text.startswith("Idle"), 120)
    assert "MiB" in panel.ui.engineStateLabel.text
    panel.ui.stopButton.click()
    host.wait(lambda: panel.ui.engineStateLabel.text.startswith("Stopped"), 20)
    assert not panel.ui.stopButton.enabled


def test_time_without_work_is_kept(host, no_machine):
    from NNMambaLib.panel.shared_worker import idle_seconds, shared_worker

    panel = open_panel(host)
    assert panel.ui.idleSpinBox.value == 10
    panel.ui.idleSpinBox.value = 3
    assert idle_seconds() == 180
    assert shared_worker().idle_seconds == 180
    host.close_module("NNMamba")
    assert open_panel(host).ui.idleSpinBox.value == 3


def test_self_test_runs_in_the_worker_and_leaves_the_scene(host, no_machine, head, scene_content, tiny, monkeypatch):
    monkeypatch.setattr("NNMambaLib.worker.self_test.bundled_packages", lambda: [tiny])
    panel = open_panel(host)
    before = scene_content()
    panel.ui.selfTestButton.click()
    assert panel.ui.selfTestButton.text == "Cancel"
    host.wait(lambda: not panel.self_test.running, 120)
    [[name, verdict, seconds, outcome]] = rows(panel.ui.selfTestTable)
    assert name == tiny.manifest.name
    assert verdict == "\N{CHECK MARK} ok"
    assert float(seconds) > 0
    assert outcome.startswith("random: class ")
    assert panel.ui.selfTestStateLabel.text == "1 of 1 models passed."
    assert panel.ui.selfTestButton.text == "&Run self-test"
    assert scene_content() == before


def test_self_test_can_be_cancelled(host, no_machine, tiny, monkeypatch):
    monkeypatch.setattr("NNMambaLib.worker.self_test.bundled_packages", lambda: [tiny, tiny])
    panel = open_panel(host)
    panel.ui.selfTestButton.click()
    panel.ui.selfTestButton.click()
    host.wait(lambda: not panel.self_test.running, 60)
    assert [row[1] for row in rows(panel.ui.selfTestTable)] == ["\N{EN DASH} cancelled"] * 2
    assert panel.ui.selfTestButton.text == "&Run self-test"
    assert panel.ui.selfTestStateLabel.text == "0 of 2 models passed."


def test_panel_that_is_closed_hears_of_nothing_any_more(host, no_machine, tiny, monkeypatch):
    from NNMambaLib.panel.shared_worker import shared_worker

    monkeypatch.setattr("NNMambaLib.worker.self_test.bundled_packages", lambda: [tiny])
    panel = open_panel(host)
    panel.ui.selfTestButton.click()
    panel.models.install(tiny.path)
    host.close_module("NNMamba")
    host.wait(lambda: not shared_worker().jobs, 60)


# --- diagnostic report, sample data, accessibility -------------------------------------------------------------------


def test_report_is_shown_and_copied_without_names(host, no_machine, head, monkeypatch, tmp_path):
    import qt
    import slicer

    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    slicer.app.applicationVersion = "5.12.3-2026-07-01"
    panel = open_panel(host)
    head.SetName("Doe^John")
    from NNMambaLib.errors import VolumeError
    from NNMambaLib.panel.shared_worker import shared_worker

    shared_worker().last_error = VolumeError(f"Doe^John in {tmp_path}/scans has no voxels.")
    panel.ui.diagnosticsCollapsibleButton.collapsed = False
    panel.ui.copyReportButton.click()
    text = qt.QApplication.clipboard().text()
    assert text == panel.ui.reportText.plainText
    assert f"3D Slicer {slicer.app.applicationVersion}" in text
    assert "<volume> in <path> has no voxels." in text
    assert "Doe" not in text
    assert str(tmp_path) not in text
    for package in catalogue.bundled_packages():
        assert package.sha256 in text


def test_sample_volume_is_registered_with_its_digest_and_needs_no_network(host, monkeypatch):
    import slicer

    registered = []
    module = types.ModuleType("SampleData")
    module.SampleDataLogic = types.SimpleNamespace(
        registerCustomSampleDataSource=lambda **source: registered.append(source)
    )
    monkeypatch.setitem(sys.modules, "SampleData", module)
    host.open("NNMamba")
    assert registered == []
    before = set(sys.modules)
    sys.modules["NNMamba"].registerSampleData()
    assert not {"torch", "SimpleITK"} & (set(sys.modules) - before)
    [source] = registered
    path = Path(url2pathname(urlparse(source["uris"]).path))
    assert source["uris"].startswith("file:///")
    assert source["checksums"] == f"SHA256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    header = Path(source["thumbnailFileName"]).read_bytes()[16:24]
    assert struct.unpack(">II", header) == (260, 280)
    assert slicer.modules.nnmamba.path.endswith("NNMamba.py")


def test_every_control_has_a_name_and_a_hint(host, no_machine):
    import qt

    ui = open_panel(host).ui
    controls = [
        widget
        for widget in vars(ui).values()
        if isinstance(widget, (qt.QPushButton, qt.QTableWidget, qt.QCheckBox, qt.QSpinBox, qt.QPlainTextEdit))
    ]
    assert len(controls) > 12
    for control in controls:
        assert control.accessibleName, control.objectName
        assert control.toolTip, control.objectName
    assert ui.idleSpinBoxLabel.buddy() is ui.idleSpinBox
