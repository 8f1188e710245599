"""The modules' logic on a real scene of slicer-core, with small random models.

Only what the Slicer application itself adds to slicer-core is stood in for: the base classes of scripted modules, the
translation function and the decorator of parameter nodes.
"""

import importlib
import importlib.util
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
def module(monkeypatch):
    """Load a module's file as Slicer does, from its own folder."""
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

    return load


@pytest.fixture
def volume_node():
    from NNMambaLib.scene.volumes import add_volume

    voxels = np.random.default_rng(0).normal(size=(1, 24, 28, 32)).astype(np.float32)
    with headless_scene() as scene:
        yield add_volume(scene, Volume(voxels, np.diag([-2.0, 2.0, 2.0, 1.0])), "head")


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


def test_hub_tells_models_and_backends(module, tmp_path, monkeypatch):
    path = random_package(tmp_path, "segmentation")
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path))
    logic = module("NNMamba").NNMambaLogic()
    assert logic.installedModels()["segmentation"] == path
    assert logic.scanBackends()["torch"] is None
