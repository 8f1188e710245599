"""The panel NNMamba Classify: answers as table and bars, what speaks for them, and the report."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from helpers.perturbed_networks import perturbed_network
from NNMambaLib.models.manifest import Target
from NNMambaLib.models.package import write_package
from NNMambaLib.support.random_package import random_manifest
from panels.conftest import choose_model, make_phantom, run

_QUESTIONS = (Target("side", ("left", "right"), binary=True), Target("contrast", ("T1-like", "T2-like", "other")))


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory):
    """Installed models: one with two questions, and one of another channel with a single one."""
    folder = tmp_path_factory.mktemp("models")
    for name, targets in (("two-questions", _QUESTIONS), ("one-question", _QUESTIONS[1:])):
        outputs = sum(target.logits for target in targets)
        manifest = random_manifest(
            # So coarse that few cells of the patch are within the head: each is hidden once for an explanation.
            "classification",
            outputs=outputs,
            base_width=4,
            patch=(16, 16, 16),
            spacing=(20, 20, 20),
        )
        network = perturbed_network("CLS", 1, outputs, base_width=4)
        write_package(folder / name, replace(manifest, name=name, targets=targets, licence="CC0-1.0"), network)
    return folder


@pytest.fixture
def widget(host, head):
    widget = host.open("NNMambaClassify")
    choose_model(widget, "two-questions")
    return widget


@pytest.fixture
def ui(widget):
    return widget.lifecycle.panel.ui


@pytest.fixture(scope="module")
def expected(models_folder):
    from NNMambaLib.engine import Engine

    return Engine("cpu").explain(make_phantom(), str(models_folder / "two-questions"), "contrast")


def rows(ui):
    table = ui.answersTable
    return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]


def expected_rows(result):
    return [
        [p.target, f"✓ {name}" if name == p.predicted else name, f"{100 * probability:.1f} %"]
        for p in result.predictions
        for name, probability in p.probabilities.items()
    ]


def plot_view(host):
    """Return the node of the panel's plot view."""
    return host.scene.GetFirstNodeByName("NNMamba Classify")


def shown_chart(host):
    """Return the chart in the panel's plot view."""
    return plot_view(host).GetPlotChartNode()


def layers(host):
    count = host.scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    assert count >= 3
    return [host.scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode") for number in range(count)]


def classes(host):
    """Return how many nodes of each class there are."""
    return Counter(host.scene.GetNthNode(index).GetClassName() for index in range(host.scene.GetNumberOfNodes()))


# --- options -----------------------------------------------------------------------------------------------------


def test_questions_are_those_of_the_model(widget, ui):
    box = ui.questionComboBox
    assert [box.itemText(index) for index in range(box.count)] == ["side", "contrast"]
    choose_model(widget, "one-question")
    assert [box.itemText(index) for index in range(box.count)] == ["contrast"]


def test_question_can_be_chosen_where_it_matters(ui):
    assert not ui.questionComboBox.enabled
    ui.explainCheckBox.checked = True
    assert ui.questionComboBox.enabled


def test_question_and_precision_of_a_job_are_the_parameter_nodes(host, widget, ui):
    from NNMambaLib.panel.shared_worker import shared_worker

    parameters = widget.logic.getParameterNode()
    # What the panel shows at first is in the node too.
    assert parameters.question == "side"
    parameters.explain, parameters.question, parameters.precision = True, "contrast", "bfloat16"
    assert ui.questionComboBox.currentText == "contrast"
    ui.applyButton.click()
    request = shared_worker().jobs[0].request
    assert (request.options, request.precision) == ({"explain": "contrast"}, "bfloat16")
    ui.applyButton.click()
    host.wait(lambda: not widget.lifecycle.panel.running, 60)
    parameters.question = "another model's"
    assert parameters.question == ui.questionComboBox.currentText == "side"


# --- result ------------------------------------------------------------------------------------------------------


def test_apply_lists_the_engines_answers(host, widget, ui, expected):
    run(host, widget)
    assert rows(ui) == expected_rows(expected)
    table = ui.outputSelector.currentNode()
    assert table.GetName() == "head t1 classification"
    assert table.GetAttribute("NNMamba.ModelLicence") == "CC0-1.0"
    assert "two-questions" in ui.messageLabel.text
    assert not ui.explanationLabel.visible
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_bars_are_those_of_the_question_selected(host, widget, ui, expected):
    run(host, widget)
    side, contrast = expected.predictions
    chart = shown_chart(host)
    assert chart.GetTitle() == f"side: {side.predicted}"
    assert chart.GetNumberOfPlotSeriesNodes() == 2
    ui.answersTable.selectRow(3)
    assert shown_chart(host) is chart
    assert chart.GetTitle() == f"contrast: {contrast.predicted}"
    names = [chart.GetNthPlotSeriesNode(number).GetName() for number in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == [f"{name} {probability:.2f}" for name, probability in contrast.probabilities.items()]


def test_layout_of_the_application_stays_as_it_is(host, widget):
    layout, views = host.layout.layout, host.layout.plotViewCount
    run(host, widget)
    assert (host.layout.layout, host.layout.plotViewCount) == (layout, views)
    view = plot_view(host)
    assert view.GetParentLayoutNode() is not None
    assert not view.GetSaveWithScene()
    assert not view.GetDoPropagatePlotChartSelection()


def test_explanation_is_shown_over_the_volume(host, head, widget, ui, expected):
    from slicer.util import arrayFromVolume

    from NNMambaLib.scene.classifications import explanation_node

    ui.explainCheckBox.checked = True
    ui.questionComboBox.currentIndex = 1
    run(host, widget)
    node = explanation_node(ui.outputSelector.currentNode())
    np.testing.assert_allclose(arrayFromVolume(node), expected.explanation.volume.array[0], atol=1e-6)
    for layer in layers(host):
        assert layer.GetBackgroundVolumeID() == head.GetID()
        assert layer.GetForegroundVolumeID() == node.GetID()
        assert 0 < layer.GetForegroundOpacity() < 1
    assert shown_chart(host).GetTitle().startswith("contrast: ")
    assert f"orange regions speak for {expected.explanation.predicted}" in ui.explanationLabel.text
    # It is a result: the panel must not take it for an input.
    assert ui.inputSelector0.currentNode() is head


def test_existing_table_is_replaced(host, widget, ui, expected):
    import vtk

    table = host.scene.AddNewNodeByClass("vtkMRMLTableNode", "mine")
    column = vtk.vtkStringArray()
    column.SetName("notes")
    table.AddColumn(column)
    ui.outputSelector.setCurrentNode(table)
    assert rows(ui) == []
    ui.explainCheckBox.checked = True
    run(host, widget)
    before = classes(host)
    run(host, widget)
    assert ui.outputSelector.currentNode() is table
    assert classes(host) == before
    assert rows(ui) == expected_rows(expected)
    assert table.GetTable().GetColumnByName("notes") is None


def test_panel_gives_what_the_logic_gives_to_scripts(host, head, widget, ui):
    from NNMambaLib.scene.classifications import classification_of

    ui.explainCheckBox.checked = True
    run(host, widget)
    panels = classification_of(ui.outputSelector.currentNode())
    table = widget.logic.process(head, "two-questions", device="cpu", explain="side", name="of a script")
    scripts = classification_of(table)
    assert table.GetName() == "of a script"
    assert scripts.predictions == panels.predictions
    np.testing.assert_array_equal(scripts.explanation.volume.array, panels.explanation.volume.array)
    assert widget.logic.process(head, "two-questions", table, device="cpu") is table
    assert classification_of(table).explanation is None


# --- what ends or fails ------------------------------------------------------------------------------------------


def test_cancelled_explanation_leaves_the_scene_as_it_was(host, widget, ui, scene_content):
    ui.explainCheckBox.checked = True
    before = scene_content()
    ui.applyButton.click()
    host.wait(lambda: ui.progressLabel.text.startswith("Explaining "), 120)
    assert ui.applyButton.text == "Cancel"
    ui.applyButton.click()
    host.wait(lambda: not widget.lifecycle.panel.running, 60)
    assert ui.messageLabel.text == "The job was cancelled; nothing was changed."
    assert scene_content() == before
    assert rows(ui) == []


def test_failed_run_leaves_scene_and_result_as_they_were(host, head, widget, ui, scene_content):
    from slicer.util import arrayFromVolume, arrayFromVolumeModified

    run(host, widget)
    before, answers = scene_content(), rows(ui)
    arrayFromVolume(head)[:] = np.nan
    arrayFromVolumeModified(head)
    host.dialogs.answer("OK", "head t1")
    run(host, widget)
    assert scene_content() == before
    assert rows(ui) == answers


def test_scene_that_is_closed_takes_the_result_from_the_panel(host, widget, ui):
    run(host, widget)
    host.scene.Clear(0)
    host.process_events()
    assert rows(ui) == []
    assert not ui.reportButton.enabled
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLPlotViewNode") == host.layout.plotViewCount


def test_removed_table_takes_the_result_from_the_panel(host, widget, ui):
    run(host, widget)
    host.scene.RemoveNode(ui.outputSelector.currentNode())
    host.process_events()
    assert rows(ui) == []
    assert not ui.reportButton.enabled
    run(host, widget)
    assert rows(ui)


def test_settings_and_result_survive_saving_and_loading_the_scene(host, widget, ui, tmp_path, expected):
    ui.explainCheckBox.checked = True
    ui.questionComboBox.currentIndex = 1
    ui.deviceComboBox.currentText = "cpu"
    run(host, widget)
    answers = rows(ui)
    host.save_scene(tmp_path / "scene.mrb")
    ui.questionComboBox.currentIndex = 0
    host.load_scene(tmp_path / "scene.mrb")
    assert ui.modelComboBox.currentData == "two-questions"
    assert ui.inputSelector0.currentNode().GetName() == "head t1"
    assert ui.explainCheckBox.checked
    assert ui.questionComboBox.currentText == "contrast"
    assert ui.deviceComboBox.currentText == "cpu"
    assert ui.outputSelector.currentNode().GetName() == "head t1 classification"
    assert rows(ui) == answers
    assert shown_chart(host).GetTitle().startswith("contrast: ")
    assert ui.reportButton.enabled
    host.dialogs.answer(str(tmp_path / "report.html"), "Save report")
    ui.reportButton.click()
    assert expected.explanation.predicted in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_scene_that_is_loaded_while_another_panel_is_shown_has_its_result(host, widget, ui, tmp_path):
    run(host, widget)
    answers = rows(ui)
    host.save_scene(tmp_path / "scene.mrb")
    widget.exit()
    host.load_scene(tmp_path / "scene.mrb")
    widget.enter()
    host.process_events()
    assert rows(ui) == answers
    assert shown_chart(host) is not None


def test_explanation_is_never_taken_for_an_input(host, head, widget, ui):
    ui.explainCheckBox.checked = True
    run(host, widget)
    ui.inputSelector0.setCurrentNode(None)
    host.scene.RemoveNode(head)
    widget.lifecycle.panel.fill_inputs()
    assert ui.inputSelector0.currentNode() is None


# --- report ------------------------------------------------------------------------------------------------------


def test_report_is_saved_where_the_user_says(host, widget, ui, tmp_path):
    assert not ui.reportButton.enabled
    ui.explainCheckBox.checked = True
    run(host, widget)
    host.dialogs.answer(str(tmp_path / "report.html"), "Save report")
    ui.reportButton.click()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for expected in ("head t1", "side", "contrast", "two-questions", "CC0-1.0", "Research use only", "Zeiler"):
        assert expected in page
    assert page.count("data:image/png;base64,") == 3
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.html"]


def test_report_that_is_not_wanted_is_not_written(host, widget, ui, tmp_path):
    run(host, widget)
    host.dialogs.answer("", "Save report")
    ui.reportButton.click()
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_name_without_ending_never_replaces_a_file_by_itself(host, widget, ui, tmp_path, answer):
    run(host, widget)
    (tmp_path / "report.html").write_text("mine")
    host.dialogs.answer(str(tmp_path / "report"), "Save report")
    host.dialogs.answer(answer, "exists already")
    ui.reportButton.click()
    kept = (tmp_path / "report.html").read_text(encoding="utf-8") == "mine"
    assert kept == (answer == "No")


def test_report_that_cannot_be_written_says_why(host, head, widget, ui, tmp_path):
    run(host, widget)
    host.dialogs.answer(str(tmp_path / "missing" / "report.html"), "Save report")
    host.dialogs.answer("OK", "cannot be written")
    ui.reportButton.click()
    host.scene.RemoveNode(head)
    host.dialogs.answer("OK", "is not in the scene any more")
    ui.reportButton.click()


def test_every_widget_can_be_named_and_reached(ui):
    for name in ("outputSelector", "explainCheckBox", "questionComboBox", "answersTable", "plotView", "reportButton"):
        assert getattr(ui, name).accessibleName
    assert ui.questionComboBoxLabel.buddy() is ui.questionComboBox
    assert ui.researchLabel.text == "Research use only: not for diagnosis or treatment."
