"""A scene bundle, written and opened again, holds all that was put into the scene."""

import json

import numpy as np
import pytest

from helpers import scene_checks
from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.scene.classifications import add_classification
from NNMambaLib.scene.landmarks import add_landmarks
from NNMambaLib.scene.segmentations import add_segmentation
from NNMambaLib.scene.volumes import add_volume, volume_from_node

pytest.importorskip("slicer", reason="slicer-core is not installed")


@pytest.fixture
def bundle(scene, volume, segmentation, landmarks, classification, tmp_path):
    from NNMambaLib.scene.headless import write_mrb

    reference = add_volume(scene, volume, "head")
    add_segmentation(scene, segmentation, reference, name="tissues", closed_surface=True)
    add_landmarks(scene, landmarks, reference, name="points")
    add_classification(scene, classification, name="answers")
    path = tmp_path / "scene.mrb"
    write_mrb(scene, path)
    return path


def test_a_bundle_holds_everything(bundle, volume, segmentation, landmarks, classification):
    from NNMambaLib.scene.headless import headless_scene, read_mrb

    with headless_scene() as scene:
        read_mrb(scene, bundle)
        node = scene.GetFirstNodeByName("tissues")
        scene_checks.check_segmentation(node, segmentation, tolerance=1e-4)
        assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()).GetName() == "head"
        # Slicer turns a left-handed grid into a right-handed one as it reads; no voxel moves.
        read = volume_from_node(scene.GetFirstNodeByName("head")).reoriented("LPS")
        np.testing.assert_array_equal(read.array, volume.reoriented("LPS").array)
        np.testing.assert_allclose(read.matrix, volume.reoriented("LPS").matrix, atol=1e-6)
        scene_checks.check_landmarks(scene.GetFirstNodeByName("points"), landmarks, tolerance=1e-6)
        table = scene.GetFirstNodeByName("answers").GetTable()
        assert table.GetNumberOfRows() == 5
        assert table.GetColumnByName("predicted").GetDataTypeAsString() == "bit"
        assert table.GetColumnByName("probability").GetDataTypeAsString() == "double"
        for name in ("tissues", "points", "answers"):
            node = scene.GetFirstNodeByName(name)
            assert node.GetAttribute("NNMamba.WeightsSHA256") == "ab" * 32
            assert json.loads(node.GetAttribute("NNMamba.Options")) == {"mirror": ["x"], "step": 0.5}
            assert "Research use only" in node.GetAttribute("NNMamba.ResearchUse")


def test_nothing_else_is_left_behind(bundle):
    assert [path.name for path in bundle.parent.iterdir()] == ["scene.mrb"]


def test_a_bundle_can_be_replaced(bundle, scene):
    from NNMambaLib.scene.headless import write_mrb

    write_mrb(scene, bundle)
    assert [path.name for path in bundle.parent.iterdir()] == ["scene.mrb"]


def test_what_cannot_be_written_or_read_says_why(scene, tmp_path, monkeypatch):
    from NNMambaLib.scene.headless import read_mrb, write_mrb

    with pytest.raises(OutputError, match=r"end it in \.mrb"):
        write_mrb(scene, tmp_path / "scene.zip")
    with pytest.raises(OutputError, match="cannot be written"):
        write_mrb(scene, tmp_path / "missing" / "scene.mrb")
    with pytest.raises(VolumeError, match="There is no file"):
        read_mrb(scene, tmp_path / "missing.mrb")
    (tmp_path / "broken.mrb").write_bytes(b"no zip")
    with pytest.raises(VolumeError, match="cannot be read"):
        read_mrb(scene, tmp_path / "broken.mrb")


def test_scenes_need_slicers_libraries(monkeypatch):
    import sys

    from NNMambaLib.scene.headless import headless_scene

    monkeypatch.setitem(sys.modules, "slicer", None)
    with pytest.raises(OutputError, match="install slicer-core"), headless_scene():
        pass


def test_another_package_named_slicer_is_told_from_slicers_libraries(monkeypatch):
    import sys
    from types import ModuleType

    from NNMambaLib.scene.headless import headless_scene
    from NNMambaLib.scene.rendering import render_window_class

    monkeypatch.setitem(sys.modules, "slicer", ModuleType("slicer"))
    with pytest.raises(OutputError, match="pip uninstall slicer, then install the extra scene"), headless_scene():
        pass
    render_window_class.cache_clear()
    with pytest.raises(OutputError, match="pip uninstall slicer"):
        render_window_class()


def test_scenes_are_quiet(capfd):
    from NNMambaLib.scene.headless import headless_scene

    with headless_scene() as scene:
        assert scene.GetNumberOfNodes() > 0
    assert capfd.readouterr().err == ""
