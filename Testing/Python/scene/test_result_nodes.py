"""Results as nodes: what they hold, where they lie, where they say they come from, and nothing if adding fails."""

import json
from dataclasses import replace

import numpy as np
import pytest

from helpers import scene_checks
from helpers.scene_checks import vtk_matrix
from NNMambaLib.scene.classifications import add_classification
from NNMambaLib.scene.landmarks import add_landmarks
from NNMambaLib.scene.segmentations import add_segmentation, put_segmentation
from NNMambaLib.scene.volumes import add_volume, volume_from_node
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("slicer", reason="slicer-core is not installed")


def ids(scene):
    return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]


@pytest.mark.parametrize("with_reference", [True, False])
def test_segments_have_names_colors_codes_and_voxels(scene, volume, segmentation, with_reference):
    import slicer

    reference = add_volume(scene, volume, "head") if with_reference else None
    node = add_segmentation(scene, segmentation, reference)

    scene_checks.check_segmentation(node, segmentation, tolerance=1e-6)
    assert node.GetName() == ("head segmentation" if with_reference else "brain segmentation")
    assert node.GetDisplayNode() is not None
    geometry = slicer.vtkOrientedImageData()
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text = node.GetSegmentation().GetConversionParameter(name)
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, geometry, False)
    assert geometry.GetDimensions() == volume.array.shape[:0:-1]
    if with_reference:
        assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is reference


def test_surfaces_are_made_on_request(scene, segmentation):
    node = add_segmentation(scene, segmentation, closed_surface=True)
    bounds = np.array(node.GetClosedSurfaceInternalRepresentation("left_thalamus").GetBounds()).reshape(3, 2)
    ras = scene_checks.segment_voxels(node, "left_thalamus") * [-1, -1, 1]
    assert np.all(bounds[:, 0] < ras.mean(0))
    assert np.all(ras.mean(0) < bounds[:, 1])


def test_results_of_a_transformed_volume_lie_in_world_space(scene, volume, segmentation, landmarks):
    node = add_volume(scene, volume, "head")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(vtk_matrix([[0, -1, 0, 30], [1, 0, 0, -20], [0, 0, 1, 10], [0, 0, 0, 1]]))
    node.SetAndObserveTransformNodeID(transform.GetID())
    given = volume_from_node(node)
    labels = Volume((given.array == 300).astype(np.uint8), given.matrix)
    result = type(segmentation)(labels, segmentation.label_definitions[:1], {}, segmentation.provenance)

    segments = add_segmentation(scene, result, node)
    points = add_landmarks(scene, landmarks, node)

    assert segments.GetParentTransformNode() is None
    assert points.GetParentTransformNode() is None
    expected = given.grid.to_physical(np.argwhere(given.array[0] == 300)[:, ::-1])
    np.testing.assert_allclose(scene_checks.segment_voxels(segments, "white_matter"), expected, atol=1e-6)
    scene_checks.check_landmarks(points, landmarks, tolerance=1e-9)


def test_landmarks_keep_definitions_confidence_and_undefined_positions(scene, volume, landmarks):
    reference = add_volume(scene, volume, "head")
    node = add_landmarks(scene, landmarks, reference)
    scene_checks.check_landmarks(node, landmarks, tolerance=1e-9)
    assert node.GetNumberOfDefinedControlPoints() == 2
    assert node.GetNthControlPointAssociatedNodeID(0) == reference.GetID()


def test_the_table_has_a_row_for_each_class(scene, classification):
    table = add_classification(scene, classification).GetTable()
    names = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
    rows = [
        tuple(table.GetValue(row, column).ToString() for column in range(4)) for row in range(table.GetNumberOfRows())
    ]
    assert names == ["target", "class", "probability", "predicted"]
    assert [row[:2] for row in rows] == [
        ("Diagnosis", "control"), ("Diagnosis", "impaired"), ("Diagnosis", "dementia"), ("Sex", "male"),
        ("Sex", "female"),
    ]  # fmt: skip
    assert [float(row[2]) for row in rows] == [0.25, 0.7, 0.05, 0.4, 0.6]
    assert [row[3] for row in rows] == ["0", "1", "0", "0", "1"]


def test_every_result_says_where_it_comes_from(scene, segmentation, landmarks, classification):
    nodes = [
        add_segmentation(scene, segmentation),
        add_landmarks(scene, landmarks),
        add_classification(scene, classification),
    ]
    for node in nodes:
        assert node.GetAttribute("NNMamba.Model") == "brain"
        assert node.GetAttribute("NNMamba.ModelVersion") == "1.2.0"
        assert node.GetAttribute("NNMamba.WeightsSHA256") == "ab" * 32
        assert node.GetAttribute("NNMamba.EngineVersion") == "0.1.0"
        assert node.GetAttribute("NNMamba.Device") == "cpu"
        assert node.GetAttribute("NNMamba.ScanBackend") == "numba"
        assert node.GetAttribute("NNMamba.Started") == "2026-01-02T03:04:05+00:00"
        assert json.loads(node.GetAttribute("NNMamba.Options")) == {"mirror": ["x"], "step": 0.5}
        assert json.loads(node.GetAttribute("NNMamba.Notices")) == ["T1 was resampled to the grid of FLAIR"]
        assert "Research use only" in node.GetAttribute("NNMamba.ResearchUse")
    assert "Research use only" in nodes[2].GetDescription()


def test_a_second_result_gets_a_name_of_its_own(scene, segmentation):
    names = {add_segmentation(scene, segmentation, name="result").GetName() for _ in range(2)}
    assert len(names) == 2


@pytest.mark.parametrize("adder", ["segmentation", "landmarks", "classification"])
def test_a_failure_leaves_the_scene_as_it_was(scene, volume, segmentation, landmarks, classification, adder):

    reference = add_volume(scene, volume, "head")
    before = ids(scene)
    broken = {
        "segmentation": lambda: add_segmentation(
            scene,
            replace(segmentation, label_definitions=(*segmentation.label_definitions, None)),
            reference,
        ),
        "landmarks": lambda: add_landmarks(
            scene, replace(landmarks, landmarks=(*landmarks.landmarks, None)), reference
        ),
        "classification": lambda: add_classification(
            scene, replace(classification, predictions=(*classification.predictions, None))
        ),
    }
    with pytest.raises(AttributeError):
        broken[adder]()
    assert ids(scene) == before
    assert not scene.IsBatchProcessing()


@pytest.fixture
def third_segment_fails(monkeypatch):
    colored = []

    def third_time_fails(label):
        colored.append(label)
        if len(colored) == 3:
            raise MemoryError
        return (1.0, 0.0, 0.0)

    monkeypatch.setattr("NNMambaLib.scene.segmentations.unit_color", third_time_fails)


def test_a_failure_midway_leaves_the_scene_as_it_was(scene, segmentation, third_segment_fails):
    before = ids(scene)
    with pytest.raises(MemoryError):
        add_segmentation(scene, segmentation)
    assert ids(scene) == before


def test_a_failure_midway_leaves_output_and_scene_as_they_were(scene, volume, segmentation, third_segment_fails):
    reference = add_volume(scene, volume)
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    output.GetSegmentation().AddEmptySegment("tumour", "tumour")
    uncertainty = Volume(np.zeros(volume.array.shape, np.float32), volume.matrix)
    before = ids(scene)
    with pytest.raises(MemoryError):
        put_segmentation(replace(segmentation, uncertainty=uncertainty), reference, output)
    assert ids(scene) == before
    assert output.GetSegmentation().GetNumberOfSegments() == 1
    assert output.GetSegmentation().GetNthSegmentID(0) == "tumour"


def test_output_that_was_removed_is_made_again(scene, volume, segmentation):
    reference = add_volume(scene, volume)
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    scene.RemoveNode(output)
    node, before = put_segmentation(segmentation, reference, output)
    assert node.GetScene() is scene
    assert node is not output
    assert before is None


def test_scene_code_needs_no_torch():
    import subprocess
    import sys

    script = "import sys, NNMambaLib.scene.volumes, NNMambaLib.scene.headless; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], env=_environment(), check=False).returncode == 0


def _environment():
    import os
    import sys

    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
