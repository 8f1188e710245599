"""The panel NNMamba Segment, driven as a user would, on a tiny model."""

import numpy as np
import pytest

from panels.conftest import choose_model, run


@pytest.fixture
def widget(host, head):
    widget = host.open("NNMambaSegment")
    choose_model(widget, "nearest-number")
    return widget


@pytest.fixture
def ui(widget):
    return widget.lifecycle.panel.ui


def segment_names(node):
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(number).GetName() for number in range(segmentation.GetNumberOfSegments())]


def test_volume_is_chosen_by_itself_and_apply_is_ready(head, ui):
    assert ui.inputSelector0.currentNode() is head
    assert ui.applyButton.enabled
    assert ui.applyButton.text == "Apply"
    assert not ui.inputSelector1.visible


def test_without_a_volume_apply_is_off_and_says_why(ui):
    ui.inputSelector0.setCurrentNode(None)
    assert not ui.applyButton.enabled
    assert ui.applyButton.toolTip == "Choose a volume for intensity."


def test_model_is_described_with_its_licence(ui):
    assert "Licence:" in ui.modelLabel.text


def test_apply_adds_the_segmentation_of_the_engine(host, head, widget, ui):
    from NNMambaLib.engine import Engine
    from NNMambaLib.scene.volumes import volume_from_node

    run(host, widget)
    node = ui.outputSelector.currentNode()
    assert segment_names(node) == ["low", "middle", "high"]
    assert node.GetAttribute("NNMamba.Model") == "nearest-number"
    expected = Engine("cpu").segment(volume_from_node(head), "nearest-number")
    shown = {ui.volumesTable.item(row, 0).text(): ui.volumesTable.item(row, 1).text() for row in range(3)}
    assert shown == {name: f"{volume:.1f}" for name, volume in expected.volumes_ml.items()}
    assert "nearest-number" in ui.messageLabel.text
    assert ui.applyButton.text == "Apply"


def test_panel_gives_what_the_logic_gives_to_scripts(host, head, widget, ui):
    from slicer.util import arrayFromSegmentBinaryLabelmap

    run(host, widget)
    panels, scripts = ui.outputSelector.currentNode(), widget.logic.process(head, "nearest-number", device="cpu")
    for identifier in ("low", "middle", "high"):
        np.testing.assert_array_equal(
            arrayFromSegmentBinaryLabelmap(panels, identifier, head),
            arrayFromSegmentBinaryLabelmap(scripts, identifier, head),
        )


def test_probability_and_uncertainty_volumes_are_added_where_asked_for(host, head, widget, ui):
    ui.probabilitiesCheckBox.checked = ui.uncertaintyCheckBox.checked = True
    run(host, widget)
    nodes = host.scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    names = {nodes.GetItemAsObject(number).GetName() for number in range(nodes.GetNumberOfItems())}
    expected = {f"head t1 probability of {label}" for label in ("low", "middle", "high")}
    assert names == {"head t1", "head t1 uncertainty", *expected}


def test_existing_segmentation_is_replaced_and_can_be_restored(host, widget, ui):
    import slicer

    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.GetSegmentation().AddEmptySegment("tumour", "tumour")
    ui.outputSelector.setCurrentNode(node)
    assert not ui.restoreButton.enabled
    run(host, widget)
    assert ui.outputSelector.currentNode() is node
    assert segment_names(node) == ["low", "middle", "high"]
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == [node]
    ui.restoreButton.click()
    assert segment_names(node) == ["tumour"]
    assert node.GetAttribute("NNMamba.Model") is None
    assert not ui.restoreButton.enabled


def test_output_under_a_transform_lies_where_the_voxels_are_seen(host, head, widget, ui):
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 25.0)
    transform = host.scene.AddNewNodeByClass("vtkMRMLTransformNode", "shift")
    transform.SetMatrixTransformToParent(matrix)
    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "moved")
    node.SetAndObserveTransformNodeID(transform.GetID())
    plain = widget.logic.process(head, "nearest-number", device="cpu")
    ui.outputSelector.setCurrentNode(node)
    run(host, widget)
    bounds = [[0.0] * 6, [0.0] * 6]
    plain.GetRASBounds(bounds[0])
    node.GetRASBounds(bounds[1])
    np.testing.assert_allclose(*bounds, atol=1e-6)
    assert isinstance(node, slicer.vtkMRMLSegmentationNode)


def test_every_option_of_a_job_is_the_parameter_nodes(host, widget, ui):
    from NNMambaLib.panel.shared_worker import shared_worker

    parameters = widget.logic.getParameterNode()
    parameters.mirror = parameters.padSmall = parameters.probabilities = parameters.uncertainty = True
    parameters.step, parameters.device, parameters.precision = 0.75, "cpu", "bfloat16"
    ui.applyButton.click()
    request = shared_worker().jobs[0].request
    assert (request.model, request.device, request.precision) == ("nearest-number", "cpu", "bfloat16")
    assert request.options == {
        "mirror": True, "step": 0.75, "pad_small": True, "probabilities": True, "uncertainty": True,
    }  # fmt: skip
    ui.applyButton.click()
    host.wait(lambda: not widget.lifecycle.panel.running, 60)
    # The widgets show what is run.
    assert ui.mirrorCheckBox.checked
    assert ui.precisionComboBox.currentText == "bfloat16"


def test_model_of_the_parameter_node_is_the_panels(widget, ui):
    parameters = widget.logic.getParameterNode()
    parameters.model = "brain-structures"
    assert ui.modelComboBox.currentData == "brain-structures"
    assert ui.inputSelector0Label.text == "MR:"
    parameters.model = "nearest-number"
    assert ui.inputSelector0Label.text == "intensity:"


def test_precision_is_float32_unless_asked_for(widget, ui):
    assert ui.precisionComboBox.currentText == "float32"
    ui.precisionComboBox.currentText = "bfloat16"
    assert widget.logic.getParameterNode().precision == "bfloat16"


def test_manifests_are_read_once_until_they_change(host, widget, ui, models_folder, tmp_path, monkeypatch):
    import shutil

    from NNMambaLib.models import package

    read = []
    parse = package.parse_manifest
    monkeypatch.setattr(package, "parse_manifest", lambda text, source: read.append(source) or parse(text, source))
    shutil.copytree(models_folder, tmp_path / "models")
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path / "models"))
    widget.enter()
    assert len(read) == len(set(read)) == 4
    widget.enter()
    assert len(read) == 4
    manifest = tmp_path / "models" / "nearest-number" / "model.json"
    manifest.write_text(manifest.read_text().replace('"licence": "', '"licence": "Changed, was '))
    widget.enter()
    assert read[4:] == [str(manifest)]
    assert "Changed, was" in ui.modelLabel.text


def test_script_waits_for_the_job_of_the_panel(host, head, widget, ui):
    from NNMambaLib.panel.shared_worker import shared_worker

    ui.applyButton.click()
    node = widget.logic.process(head, "nearest-number")
    assert not widget.lifecycle.panel.running
    assert segment_names(ui.outputSelector.currentNode()) == segment_names(node) == ["low", "middle", "high"]
    process = shared_worker().pid
    widget.logic.process(head, "nearest-number")
    assert shared_worker().pid == process


def test_application_lives_while_a_script_waits(host, head, widget):
    import qt

    ticks = []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: ticks.append(None))
    timer.start(10)
    widget.logic.process(head, "nearest-number")
    timer.stop()
    assert len(ticks) > 1


def test_error_of_a_script_is_raised_and_shown_nowhere(host, head, widget, scene_content):
    from NNMambaLib.errors import NNMambaError

    before = scene_content()
    with pytest.raises(NNMambaError, match="does not allow mirroring"):
        widget.logic.process(head, "nearest-number", mirror=True)
    assert scene_content() == before
    assert not host.dialogs.shown


def test_scripts_may_run_within_the_progress_of_others(host, head, widget):
    """An observer or a timer may call while a call is under way; neither waits for the other."""
    inner = []

    def once(progress):
        if not inner:
            inner.append(None)
            inner[0] = widget.logic.process(head, "nearest-number")

    outer = widget.logic.process(head, "nearest-number", onProgress=once)
    assert segment_names(outer) == segment_names(inner[0]) == ["low", "middle", "high"]


def test_settings_survive_saving_and_loading_the_scene(host, head, ui, tmp_path):
    ui.stepSlider.value = 0.75
    ui.mirrorCheckBox.checked = True
    ui.deviceComboBox.currentText = "cpu"
    host.save_scene(tmp_path / "scene.mrb")
    host.load_scene(tmp_path / "scene.mrb")
    assert ui.stepSlider.value == 0.75
    assert ui.mirrorCheckBox.checked
    assert ui.deviceComboBox.currentText == "cpu"
    assert ui.modelComboBox.currentData == "nearest-number"
    assert ui.inputSelector0.currentNode().GetName() == "head t1"


def test_reloading_the_module_keeps_the_settings(host, ui):
    ui.stepSlider.value = 0.6
    assert host.reload("NNMambaSegment").lifecycle.panel.ui.stepSlider.value == 0.6


def test_every_widget_can_be_named_and_reached(ui):
    for name in ("modelComboBox", "inputSelector0", "outputSelector", "deviceComboBox", "stepSlider", "volumesTable"):
        assert getattr(ui, name).accessibleName
    assert ui.modelComboBoxLabel.buddy() is ui.modelComboBox
    assert ui.researchLabel.text == "Research use only: not for diagnosis or treatment."


def test_another_scene_has_nothing_to_restore(host, head, phantom, widget, ui):
    import slicer

    from NNMambaLib.scene.volumes import add_volume

    run(host, widget)
    run(host, widget)
    assert ui.restoreButton.enabled
    slicer.mrmlScene.Clear(0)
    host.process_events()
    add_volume(host.scene, phantom)
    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "another person's")
    ui.outputSelector.setCurrentNode(node)
    assert not ui.restoreButton.enabled


def test_result_goes_where_it_was_to_go_when_apply_was_pressed(host, widget, ui):
    chosen, other = (host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name) for name in ("chosen", "other"))
    ui.outputSelector.setCurrentNode(chosen)
    ui.applyButton.click()
    ui.outputSelector.setCurrentNode(other)
    host.wait(lambda: not widget.lifecycle.panel.running, 120)
    assert segment_names(chosen) == ["low", "middle", "high"]
    assert segment_names(other) == []


def test_model_that_is_gone_is_said_and_the_panel_goes_on(host, widget, ui, models_folder, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(models_folder, tmp_path / "models")
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path / "models"))
    host.open("NNMambaLandmarks")
    shutil.rmtree(tmp_path / "models" / "nearest-number")
    host.open("NNMambaSegment")
    assert ui.modelComboBox.currentData == "brain-structures"
    assert ui.modelComboBox.findData("nearest-number") < 0
