"""A host with a head in its scene, and tiny models that the panels find as installed ones."""

import os
import sys

import pytest

from helpers.intensity_network import write_segmentation_package
from helpers.phantoms import bodies, grid_matrix, oblique_rotation, sample
from NNMambaLib.support.random_package import random_manifest, write_random_package

_SHAPE = (32, 64, 32)


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory):
    """Installed models: two that label intensities, in few and in many tiles, and random ones for other tasks."""
    folder = tmp_path_factory.mktemp("models")
    write_segmentation_package(folder / "nearest-number", spacing=(6.0, 6.0, 6.0))
    write_segmentation_package(folder / "many-tiles", name="many-tiles")
    for task in ("landmarks", "classification"):
        manifest = random_manifest(task, outputs=3, base_width=4, patch=(32, 32, 32), spacing=(3.0, 3.0, 3.0))
        write_random_package(folder / f"random-{task}", manifest)
    return folder


@pytest.fixture
def host(models_folder, launcher_folder, monkeypatch):
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from slicer_host import SlicerHost

    monkeypatch.setenv("NNMAMBA_MODELS", str(models_folder))
    monkeypatch.setenv("PATH", str(launcher_folder), prepend=os.pathsep)
    with SlicerHost() as host:
        yield host
        from NNMambaLib.panel.shared_worker import close_shared_worker

        close_shared_worker()
    # They hold this host's Qt and Slicer.
    for name in [name for name in sys.modules if name.split(".")[:2] == ["NNMambaLib", "panel"]]:
        del sys.modules[name]


@pytest.fixture
def phantom():
    return make_phantom()


def make_phantom():
    """Return a head of unlike bodies, oblique and anisotropic."""
    return sample(bodies, _SHAPE, grid_matrix("LIP", (3, 2.5, 3), _SHAPE, oblique_rotation()), "head t1")


@pytest.fixture
def head(host, phantom):
    """A volume node."""
    from NNMambaLib.scene.volumes import add_volume

    return add_volume(host.scene, phantom)


@pytest.fixture
def scene_content(host):
    """A function that returns the scene's nodes with their names, and each volume's voxels."""

    def content():
        nodes = [host.scene.GetNthNode(index) for index in range(host.scene.GetNumberOfNodes())]
        kept = [node for node in nodes if not node.IsA("vtkMRMLScriptedModuleNode")]
        return {node.GetID(): node.GetName() for node in kept}

    return content


def choose_model(widget, name):
    """Choose an installed model in a task panel."""
    box = widget.lifecycle.panel.ui.modelComboBox
    box.currentIndex = box.findData(name)
    assert box.currentData == name


def run(host, widget):
    """Press Apply and wait for the end."""
    panel = widget.lifecycle.panel
    assert panel.ui.applyButton.enabled, panel.ui.applyButton.toolTip
    panel.ui.applyButton.click()
    assert panel.running, panel.ui.messageLabel.text
    host.wait(lambda: not panel.running, 120)


def start(host, panel):
    """Press Apply and wait until the network runs."""
    panel.ui.applyButton.click()
    host.wait(lambda: panel.ui.progressLabel.text.startswith("Segmenting "), 120)
