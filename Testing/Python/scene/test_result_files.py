"""Files of results, written without Slicer's libraries and opened with them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from helpers import scene_checks
from NNMambaLib.errors import OutputError
from NNMambaLib.export.markups_file import write_markups
from NNMambaLib.export.segmentation_file import write_segmentation
from NNMambaLib.export.segments import segment_ids
from NNMambaLib.models.manifest import Label
from NNMambaLib.volumes.files import read_volume


def stored(scene, storage_class, node_class, path):
    """Return a node that Slicer's own storage node has read from a file."""
    node = scene.AddNewNodeByClass(node_class)
    storage = scene.AddNewNodeByClass(storage_class)
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


def test_slicer_opens_a_segmentation_file(scene, segmentation, tmp_path):
    path = tmp_path / "labels.seg.nrrd"
    write_segmentation(segmentation, path)
    node = stored(scene, "vtkMRMLSegmentationStorageNode", "vtkMRMLSegmentationNode", path)
    scene_checks.check_segmentation(node, segmentation, tolerance=1e-4)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_slicer_opens_a_markups_file(scene, landmarks, tmp_path):
    path = tmp_path / "points.mrk.json"
    write_markups(landmarks, path)
    node = stored(scene, "vtkMRMLMarkupsJsonStorageNode", "vtkMRMLMarkupsFiducialNode", path)
    scene_checks.check_landmarks(node, landmarks, tolerance=1e-9)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_markups_file_says_where_it_comes_from(landmarks, tmp_path):
    path = tmp_path / "points.mrk.json"
    write_markups(landmarks, path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["nnmamba"]["weights_sha256"] == "ab" * 32
    assert "Research use only" in content["nnmamba"]["research_use"]
    statuses = [point["positionStatus"] for point in content["markups"][0]["controlPoints"]]
    assert statuses == ["defined", "undefined", "defined"]
    assert "position" not in content["markups"][0]["controlPoints"][1]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".seg.nrrd", ".mha"])
def test_label_values_and_geometry_survive(segmentation, tmp_path, ending):
    path = tmp_path / f"labels{ending}"
    write_segmentation(segmentation, path)
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, segmentation.labels.array)
    np.testing.assert_allclose(read.matrix, segmentation.labels.matrix, atol=1e-4)


def test_wrong_endings_are_refused(segmentation, landmarks, tmp_path):
    with pytest.raises(OutputError, match=r"end it in \.seg\.nrrd"):
        write_segmentation(segmentation, tmp_path / "labels.png")
    with pytest.raises(OutputError, match=r"end it in \.mrk\.json"):
        write_markups(landmarks, tmp_path / "points.json")
    assert not list(tmp_path.iterdir())


def test_segments_of_alike_names_have_ids_of_their_own():
    labels = [Label(value, name, (0, 0, 0)) for value, name in enumerate(("Left-lung", "Left lung", "脳"), start=1)]
    assert segment_ids(labels) == ("left_lung_1", "left_lung_2", "segment")


def test_files_are_written_without_slicers_libraries():
    script = (
        "import sys, NNMambaLib.export.markups_file, NNMambaLib.export.segmentation_file; "
        "raise SystemExit(any(name in sys.modules for name in ('slicer', 'vtk', 'torch')))"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 0
