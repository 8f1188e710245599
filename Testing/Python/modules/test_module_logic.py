"""The modules' logic on a real scene of slicer-core, with small random models.

Only what the Slicer application itself adds to slicer-core is stood in for: the base classes of scripted modules, the
translation function and the decorator of parameter nodes.
"""

import importlib
import importlib.util
import os
import signal
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from NNMambaLib.errors import NNMambaError
from NNMambaLib.scene.headless import headless_scene
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("slicer", reason="slicer-core is not installed")

ROOT = Path(__file__).parents[3]


@pytest.fixture
def module(monkeypatch, launcher_folder):
    """Load a module's file as Slicer does, from its own folder."""
    monkeypatch.setenv("PATH", str(launcher_folder), prepend=os.pathsep)
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    for suffix in ("", "Logic", "Test", "Widget"):
        name = f"ScriptedLoadableModule{suffix}"
        setattr(base, name, type(name, (), {}))
    translation = types.ModuleType("slicer.i18n")
    translation.tr = lambda text: text
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    wrapper.parameterNodeWrapper = lambda parameters: parameters
    wrapper.Choice = wrapper.WithinRange = lambda *limits: limits
    monkeypatch.setitem(sys.modules, "slicer.ScriptedLoadableModule", base)
    monkeypatch.setitem(sys.modules, "slicer.i18n", translation)
    monkeypatch.setitem(sys.modules, "slicer.parameterNodeWrapper", wrapper)

    def load(name):
        specification = importlib.util.spec_from_file_location(name, ROOT / name / f"{name}.py")
        loaded = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(loaded)
        return loaded

    yield load
    from NNMambaLib.panel.shared_worker import close_shared_worker

    close_shared_worker()


@pytest.fixture
def volume_node():
    from NNMambaLib.scene.volumes import add_volume

    voxels = np.random.default_rng(0).normal(size=(1, 24, 28, 32)).astype(np.float32)
    with headless_scene() as scene:
        yield add_volume(scene, Volume(voxels, np.diag([-2.0, 2.0, 2.0, 1.0])), "head")


@pytest.fixture
def without_torch(monkeypatch):
    """A process that has not imported torch, nor anything of the library, and cannot import torch."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("torch", "NNMambaLib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)


def labels_of(node):
    """Return the label of every voxel: a node's segments are in one layer."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = node.GetBinaryLabelmapInternalRepresentation(node.GetSegmentation().GetNthSegmentID(0))
    return vtk_to_numpy(image.GetPointData().GetScalars()).copy()


def volumes(scene):
    """Return the names of the scene's volumes and their voxels."""
    from NNMambaLib.scene.volumes import volume_from_node

    nodes = [
        scene.GetNthNodeByClass(number, "vtkMRMLScalarVolumeNode")
        for number in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))
    ]
    return {node.GetName(): volume_from_node(node).array.copy() for node in nodes}


def random_package(folder, task):
    manifest = random_manifest(task, outputs=3, base_width=4, patch=(32, 32, 32), spacing=(2.0, 2.0, 2.0))
    return write_random_package(folder / task, manifest).path


def test_segment_adds_one_segment_a_label(module, volume_node, tmp_path):
    logic = module("NNMambaSegment").NNMambaSegmentLogic()
    node = logic.process(volume_node, random_package(tmp_path, "segmentation"), name="result")
    assert node.IsA("vtkMRMLSegmentationNode")
    assert node.GetName() == "result"
    assert node.GetSegmentation().GetNumberOfSegments() == 2


def test_landmarks_adds_one_point_a_landmark(module, volume_node, tmp_path):
    logic = module("NNMambaLandmarks").NNMambaLandmarksLogic()
    node = logic.process([volume_node], random_package(tmp_path, "landmarks"))
    assert node.IsA("vtkMRMLMarkupsFiducialNode")
    assert node.GetNumberOfControlPoints() == 3


def test_classify_adds_one_row_a_class(module, volume_node, tmp_path):
    logic = module("NNMambaClassify").NNMambaClassifyLogic()
    node = logic.process(volume_node, random_package(tmp_path, "classification"))
    assert node.IsA("vtkMRMLTableNode")
    assert node.GetNumberOfRows() == 3


def test_a_failed_run_leaves_the_scene_as_it_was(module, volume_node, tmp_path):
    scene = volume_node.GetScene()
    before = scene.GetNumberOfNodes()
    with pytest.raises(NNMambaError, match="is for landmarks, not for segmentation"):
        module("NNMambaSegment").NNMambaSegmentLogic().process(volume_node, random_package(tmp_path, "landmarks"))
    assert scene.GetNumberOfNodes() == before


def test_the_callers_process_never_imports_torch(module, volume_node, tmp_path, request):
    package = random_package(tmp_path, "classification")
    request.getfixturevalue("without_torch")
    node = module("NNMambaClassify").NNMambaClassifyLogic().process(volume_node, package)
    assert node.GetNumberOfRows() == 3


def test_worker_gives_what_the_engine_gives_in_process(module, volume_node, tmp_path):
    logic, package = module("NNMambaSegment").NNMambaSegmentLogic(), random_package(tmp_path, "segmentation")
    settings = {"probabilities": True, "uncertainty": True, "step": 0.75, "device": "cpu"}
    in_worker = logic.process(volume_node, package, name="in the worker", **settings)
    added = volumes(volume_node.GetScene())
    for name in [name for name in added if name != "head"]:
        volume_node.GetScene().RemoveNode(volume_node.GetScene().GetFirstNodeByName(name))
    in_process = logic.process(volume_node, package, name="in process", inProcess=True, **settings)
    np.testing.assert_array_equal(labels_of(in_worker), labels_of(in_process))
    # The scene numbers names that it has given before.
    again = {name.removesuffix("_1"): voxels for name, voxels in volumes(volume_node.GetScene()).items()}
    assert set(added) == {"head", "head uncertainty", "head probability of label 1", "head probability of label 2"}
    assert set(again) == set(added)
    for name, voxels in added.items():
        np.testing.assert_array_equal(voxels, again[name])


def test_models_stay_loaded_between_calls(module, volume_node, tmp_path):
    from NNMambaLib.panel.shared_worker import shared_worker

    logic, package = module("NNMambaLandmarks").NNMambaLandmarksLogic(), random_package(tmp_path, "landmarks")
    logic.process(volume_node, package)
    process = shared_worker().pid
    assert process is not None
    logic.process(volume_node, package)
    assert shared_worker().pid == process


def test_progress_is_told(module, volume_node, tmp_path):
    told = []
    logic = module("NNMambaClassify").NNMambaClassifyLogic()
    logic.process(volume_node, random_package(tmp_path, "classification"), onProgress=told.append)
    assert told
    assert all(0 <= progress.done <= progress.total and progress.stage for progress in told)


@pytest.fixture
def interruptible():
    """Ctrl+C raises, also where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("in_process", [False, True])
def test_ctrl_c_cancels_the_job_and_the_next_call_succeeds(module, volume_node, tmp_path, in_process):
    scene, package = volume_node.GetScene(), random_package(tmp_path, "segmentation")
    logic, before = module("NNMambaSegment").NNMambaSegmentLogic(), volume_node.GetScene().GetNumberOfNodes()
    with pytest.raises(KeyboardInterrupt):
        logic.process(
            volume_node,
            package,
            onProgress=lambda progress: signal.raise_signal(signal.SIGINT),
            inProcess=in_process,
        )
    assert scene.GetNumberOfNodes() == before
    assert logic.process(volume_node, package, inProcess=in_process) is not None


def test_precision_that_this_machine_lacks_is_refused_in_the_engines_words(module, volume_node, tmp_path):
    logic, package = module("NNMambaClassify").NNMambaClassifyLogic(), random_package(tmp_path, "classification")
    sentences = []
    for in_process in (False, True):
        with pytest.raises(NNMambaError) as refused:
            logic.process(volume_node, package, precision="float8", inProcess=in_process)
        sentences.append(str(refused.value))
    assert sentences[0] == sentences[1]
    assert "float8" in sentences[0]


def test_relative_path_of_a_package_is_the_callers(module, volume_node, tmp_path, monkeypatch):
    logic, package = module("NNMambaClassify").NNMambaClassifyLogic(), random_package(tmp_path, "classification")
    logic.process(volume_node, package)
    monkeypatch.chdir(tmp_path)
    assert logic.process(volume_node, package.name).GetNumberOfRows() == 3


def test_hub_tells_models_and_backends(module, tmp_path, monkeypatch):
    path = random_package(tmp_path, "segmentation")
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path))
    logic = module("NNMamba").NNMambaLogic()
    assert logic.installedModels()["segmentation"] == path
    assert logic.scanBackends()["torch"] is None
