"""A classification in the scene: table, bar plot and explanation, read back, replaced, and nothing if it fails."""

from dataclasses import replace

import numpy as np
import pytest

from NNMambaLib.results import Explanation
from NNMambaLib.scene.classifications import (
    add_classification,
    chart_node,
    classification_of,
    explanation_node,
    input_node,
    plot_question,
    replace_classification,
)
from NNMambaLib.scene.volumes import add_volume
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("slicer", reason="slicer-core is not installed")


@pytest.fixture
def explained(classification, volume):
    array = np.zeros(volume.array.shape, np.float32)
    array[0, 3:6, 4:8, 5:9], array[0, 8, 10, 12] = 0.4, -0.1
    map_ = Volume(array, volume.matrix, "map")
    return replace(classification, explanation=Explanation("Sex", "female", map_))


@pytest.fixture
def head(scene, volume):
    return add_volume(scene, volume, "head")


def ids(scene):
    return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]


def bars(table):
    """Return the title of a table's chart and what its bars show."""
    chart, shown = chart_node(table), {}
    for number in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(number)
        assert series.GetPlotType() == series.PlotTypeBar
        column = series.GetTableNode().GetTable().GetColumnByName(series.GetYColumnName())
        assert column.GetNumberOfTuples() == 1
        shown[series.GetName()] = column.GetValue(0)
    return chart.GetTitle(), shown


def test_what_was_added_is_read_back(scene, head, explained):
    table = add_classification(scene, explained, head)
    assert table.GetName() == "head classification"
    assert input_node(table) is head
    read = classification_of(table)
    assert read.predictions == explained.predictions
    # JSON has no tuples.
    assert read.provenance == explained.provenance
    assert (read.explanation.target, read.explanation.predicted) == ("Sex", "female")
    np.testing.assert_array_equal(read.explanation.volume.array, explained.explanation.volume.array)
    np.testing.assert_allclose(read.explanation.volume.matrix, explained.explanation.volume.matrix, atol=1e-9)


def test_without_an_explanation_there_is_no_volume(scene, head, classification):
    table = add_classification(scene, classification, head)
    assert explanation_node(table) is None
    assert classification_of(table).explanation is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


@pytest.mark.parametrize("which", ["none", "empty table", "other table"])
def test_what_holds_no_classification_gives_none(scene, head, which):
    import vtk

    node = None if which == "none" else scene.AddNewNodeByClass("vtkMRMLTableNode")
    if which == "other table":
        column = vtk.vtkStringArray()
        column.SetName("class")
        node.AddColumn(column)
    assert classification_of(node) is None


def test_explanation_is_shown_in_colours_that_are_transparent_around_zero(scene, head, explained):
    node = explanation_node(add_classification(scene, explained, head))
    assert node.GetName() == "head explanation"
    assert node.GetAttribute("NNMamba.Model") == "brain"
    display = node.GetDisplayNode()
    limits = display.GetLevel() - display.GetWindow() / 2, display.GetLevel() + display.GetWindow() / 2
    assert limits == pytest.approx((-0.4, 0.4))
    colors = display.GetColorNode().GetLookupTable()
    against, none, for_ = (colors.GetTableValue(index) for index in (0, 127, 254))
    assert none[3] == pytest.approx(0, abs=0.01)
    assert against[3] == for_[3] == 1
    assert for_[0] > for_[2]
    assert against[2] > against[0]


def test_a_second_explanation_has_the_same_colours(scene, head, explained):
    nodes = [explanation_node(add_classification(scene, explained, head)) for _ in range(2)]
    assert nodes[0].GetDisplayNode().GetColorNode() is nodes[1].GetDisplayNode().GetColorNode()


def test_a_map_of_next_to_nothing_is_not_stretched_to_full_colour(scene, head, explained, volume):
    faint = Volume(np.full(volume.array.shape, 1e-5, np.float32), volume.matrix)
    node = explanation_node(
        add_classification(scene, replace(explained, explanation=Explanation("Sex", "female", faint)), head)
    )
    assert node.GetDisplayNode().GetWindow() == pytest.approx(0.002)


def test_plot_shows_the_question_explained_or_the_first_or_that_asked_for(scene, head, classification, explained):
    assert bars(add_classification(scene, explained, head))[0] == "Sex: female"
    table = add_classification(scene, classification, head)
    diagnosis = {"control 0.25": 0.25, "impaired 0.70": 0.7, "dementia 0.05": 0.05}
    assert bars(table) == ("Diagnosis: impaired", diagnosis)
    plot_question(table, "Sex")
    assert bars(table) == ("Sex: female", {"male 0.40": 0.4, "female 0.60": 0.6})
    plot_question(table, "Age")
    assert bars(table)[0] == "Sex: female"
    plot_question(table, "Diagnosis")
    assert bars(table) == ("Diagnosis: impaired", diagnosis)


def test_plot_is_drawn_on_the_scale_of_probabilities(scene, head, classification):
    chart = chart_node(add_classification(scene, classification, head))
    assert not chart.GetYAxisRangeAuto()
    assert chart.GetYAxisRange() == (0.0, 1.0)


def test_a_table_is_replaced_with_its_plot_and_explanation(scene, head, classification, explained):
    table = add_classification(scene, explained, head, name="answers")
    chart, old = chart_node(table), explanation_node(table).GetID()
    count = scene.GetNumberOfNodes()
    replace_classification(table, explained, head)
    assert scene.GetNumberOfNodes() == count
    assert scene.GetNodeByID(old) is None or explanation_node(table).GetID() == old
    assert explanation_node(table).GetName() == "head explanation"
    assert chart_node(table) is chart
    replace_classification(table, classification, head)
    assert table.GetName() == "answers"
    assert explanation_node(table) is None
    assert classification_of(table).predictions == classification.predictions
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_a_users_own_table_can_be_the_output(scene, head, explained):
    import vtk

    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "mine")
    column = vtk.vtkStringArray()
    column.SetName("notes")
    table.AddColumn(column)
    replace_classification(table, explained, head)
    assert table.GetTable().GetColumnByName("notes") is None
    assert classification_of(table).predictions == explained.predictions
    assert bars(table)[0] == "Sex: female"


@pytest.mark.parametrize(
    "stage", ["classifications.add_chart", "explanation_volume.color_limit", "classifications.vtk_table"]
)
def test_a_failure_leaves_table_and_scene_as_they_were(scene, head, classification, explained, monkeypatch, stage):
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "mine")
    before, content = ids(scene), table.GetTable()

    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(f"NNMambaLib.scene.{stage}", fail)
    for change in (
        lambda: add_classification(scene, explained, head),
        lambda: replace_classification(table, explained, head),
    ):
        with pytest.raises(MemoryError):
            change()
        assert ids(scene) == before
    assert table.GetTable() is content
    assert table.GetAttribute("NNMamba.Model") is None


def test_saved_and_loaded_the_result_is_the_same(scene, head, explained, tmp_path):
    from NNMambaLib.scene.headless import headless_scene, read_mrb, write_mrb

    add_classification(scene, explained, head, name="answers")
    write_mrb(scene, tmp_path / "scene.mrb")
    with headless_scene() as loaded:
        read_mrb(loaded, tmp_path / "scene.mrb")
        table = loaded.GetFirstNodeByName("answers")
        read = classification_of(table)
        assert read.predictions == explained.predictions
        assert read.provenance == explained.provenance
        assert read.explanation.target == "Sex"
        assert read.explanation.volume.array.max() == pytest.approx(0.4)
        assert input_node(table).GetName() == "head"
        assert bars(table)[0] == "Sex: female"
        colors = explanation_node(table).GetDisplayNode().GetColorNode().GetLookupTable()
        assert colors.GetTableValue(127)[3] == pytest.approx(0, abs=0.01)
        assert colors.GetTableValue(254)[3] == 1
