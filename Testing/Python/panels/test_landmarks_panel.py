"""The panel NNMamba Landmarks: one list of points, and its review."""

import csv
import json

import pytest

from panels.conftest import choose_model, run


@pytest.fixture
def widget(host, head):
    widget = host.open("NNMambaLandmarks")
    choose_model(widget, "random-landmarks")
    return widget


@pytest.fixture
def ui(widget):
    return widget.lifecycle.panel.ui


@pytest.fixture
def points(host, widget, ui):
    """A list to review, whose landmarks were found with confidence 0.9, found with 0.3, and not found."""
    from NNMambaLib import scene
    from NNMambaLib.results import Landmark, LandmarksResult, Provenance

    provenance = Provenance("m", "1", "ab", "0", "cpu", "torch", {}, "2026-01-01T00:00:00+00:00", {"total": 1.0})
    landmarks = (
        Landmark("AC", "Anterior commissure.", (10.0, -20.0, 30.0), 0.9),
        Landmark("PC", "Posterior commissure.", (1.0, 2.0, 3.0), 0.3),
        Landmark("PMJ", "Pontomesencephalic junction.", None, 0.05),
    )
    node = scene.add_landmarks(host.scene, LandmarksResult(landmarks, provenance), name="points")
    ui.outputSelector.setCurrentNode(node)
    return node


def rows(ui):
    table = ui.reviewTable
    return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]


def test_apply_adds_one_list_with_every_landmark(host, head, widget, ui):
    run(host, widget)
    node = ui.outputSelector.currentNode()
    assert node.IsA("vtkMRMLMarkupsFiducialNode")
    assert node.GetNumberOfControlPoints() == ui.reviewTable.rowCount == 3
    assert "confidence" in node.GetNthControlPointDescription(0)
    assert node.GetNthControlPointAssociatedNodeID(0) == head.GetID()


def test_every_option_of_a_job_is_the_parameter_nodes(host, widget, ui):
    from NNMambaLib.panel.shared_worker import shared_worker

    parameters = widget.logic.getParameterNode()
    parameters.step, parameters.padSmall, parameters.device, parameters.precision = 0.75, True, "cpu", "bfloat16"
    ui.applyButton.click()
    request = shared_worker().jobs[0].request
    assert request.options == {"step": 0.75, "pad_small": True}
    assert (request.device, request.precision) == ("cpu", "bfloat16")
    ui.applyButton.click()
    host.wait(lambda: not widget.lifecycle.panel.running, 60)


def test_existing_list_is_replaced(host, widget, ui):
    import slicer

    node = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
    node.AddControlPoint([0, 0, 0], "old")
    ui.outputSelector.setCurrentNode(node)
    run(host, widget)
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode") == [node]
    assert node.GetControlPointIndexByLabel("old") == -1
    assert node.GetNumberOfControlPoints() == 3


def test_confidence_is_told_in_words_and_signs(points, ui):
    assert rows(ui) == [
        ["AC", "0.90", "\N{BULLET} predicted"],
        ["PC", "0.30", "\N{WARNING SIGN} low confidence"],
        ["PMJ", "0.05", "\N{EN DASH} not found"],
    ]
    assert points.GetNthControlPointPositionStatus(2) == points.PositionUndefined


def test_limit_of_low_confidence_can_be_moved(points, ui):
    ui.confidenceSlider.value = 0.95
    assert rows(ui)[0][2] == "\N{WARNING SIGN} low confidence"


def test_selecting_a_row_jumps_all_slices_there(host, points, ui):
    import slicer

    ui.reviewTable.selectRow(0)
    host.process_events()
    for name in ("Red", "Green", "Yellow"):
        matrix = slicer.app.layoutManager().sliceWidget(name).sliceLogic().GetSliceNode().GetSliceToRAS()
        normal = [matrix.GetElement(row, 2) for row in range(3)]
        origin = [matrix.GetElement(row, 3) for row in range(3)]
        # RAS of LPS (10, -20, 30).
        distance = sum(n * (p - o) for n, p, o in zip(normal, (-10, 20, 30), origin, strict=True))
        assert abs(distance) < 1e-3


def test_moved_point_can_be_reset(points, ui):
    points.SetNthControlPointPositionWorld(0, 5.0, 5.0, 5.0)
    assert rows(ui)[0][2].endswith("moved")
    ui.reviewTable.selectRow(0)
    ui.resetButton.click()
    assert points.GetNthControlPointPositionWorld(0) == pytest.approx((-10, 20, 30))
    assert rows(ui)[0][2].endswith("predicted")
    assert not ui.resetButton.enabled


def test_deleted_point_comes_back(points, ui):
    points.RemoveNthControlPoint(0)
    assert rows(ui)[0][2].endswith("removed")
    ui.reviewTable.selectRow(0)
    ui.resetButton.click()
    index = points.GetControlPointIndexByLabel("AC")
    assert points.GetNthControlPointPositionWorld(index) == pytest.approx((-10, 20, 30))


def test_accepted_point_is_locked_until_it_is_moved(points, ui):
    ui.reviewTable.selectRow(1)
    ui.acceptButton.click()
    assert rows(ui)[1][2] == "\N{CHECK MARK} accepted"
    assert points.GetNthControlPointLocked(1)
    assert not ui.acceptButton.enabled
    points.SetNthControlPointPositionWorld(1, 0.0, 0.0, 0.0)
    assert rows(ui)[1][2].endswith("moved")


def test_review_survives_saving_and_loading_the_scene(host, points, ui, tmp_path):
    ui.reviewTable.selectRow(1)
    ui.acceptButton.click()
    points.SetNthControlPointPositionWorld(0, 5.0, 5.0, 5.0)
    expected = rows(ui)
    host.save_scene(tmp_path / "scene.mrb")
    host.load_scene(tmp_path / "scene.mrb")
    assert ui.outputSelector.currentNode().GetName() == "points"
    assert rows(ui) == expected


def test_review_is_exported_as_a_table(host, points, ui, tmp_path):
    host.dialogs.answer(str(tmp_path / "review.csv"))
    ui.exportButton.click()
    with (tmp_path / "review.csv").open(newline="") as file:
        header, first, second, third, note = csv.reader(file)
    assert header[:4] == ["landmark", "confidence", "state", "R mm"]
    assert first == ["AC", "0.9000", "predicted", *["-10.0000", "20.0000", "30.0000"] * 2]
    assert second[2] == "predicted"
    assert third == ["PMJ", "0.0500", "not found", *[""] * 6]
    assert "Research use only" in note[0]


def test_review_is_exported_as_markups(host, points, ui, tmp_path):
    host.dialogs.answer(str(tmp_path / "points.mrk.json"))
    ui.exportButton.click()
    content = json.loads((tmp_path / "points.mrk.json").read_text())
    labels = [point["label"] for point in content["markups"][0]["controlPoints"]]
    assert labels == ["AC", "PC", "PMJ"]


def test_other_lists_are_not_reviewed(host, ui):
    node = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
    node.AddControlPoint([0, 0, 0], "x")
    ui.outputSelector.setCurrentNode(node)
    assert ui.reviewTable.rowCount == 0
    assert not ui.exportButton.enabled


def test_reviewed_list_is_replaced_only_at_the_users_word(host, points, widget, ui):
    points.SetNthControlPointPositionWorld(0, 5.0, 5.0, 5.0)
    host.dialogs.answer("Cancel", "were reviewed")
    ui.applyButton.click()
    assert not widget.lifecycle.panel.running
    assert rows(ui)[0][2].endswith("moved")
    host.dialogs.answer("OK", "were reviewed")
    run(host, widget)
    assert points.GetControlPointIndexByLabel("AC") == -1


def test_new_result_is_not_accepted_beforehand(points, ui):
    from NNMambaLib import scene
    from NNMambaLib.results import Landmark, LandmarksResult, Provenance

    ui.reviewTable.selectRow(2)
    ui.acceptButton.click()
    provenance = Provenance("m", "1", "ab", "0", "cpu", "torch", {}, "2026-01-01T00:00:00+00:00", {"total": 1.0})
    scene.replace_landmarks(points, LandmarksResult((Landmark("PMJ", "Where.", None, 0.1),), provenance))
    assert rows(ui) == [["PMJ", "0.10", "\N{EN DASH} not found"]]


def test_transform_moves_prediction_and_review_alike(host, points, ui):
    import vtk

    from NNMambaLib.scene.landmark_review import reviewed_landmarks

    ui.reviewTable.selectRow(1)
    ui.acceptButton.click()
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform = host.scene.AddNewNodeByClass("vtkMRMLTransformNode", "shift")
    transform.SetMatrixTransformToParent(matrix)
    points.SetAndObserveTransformNodeID(transform.GetID())
    first, second, _ = reviewed_landmarks(points)
    assert (first.state.value, second.state.value) == ("predicted", "accepted")
    assert first.position == first.predicted == pytest.approx((90, 20, 30))
