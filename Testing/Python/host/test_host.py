"""The host itself: modules, waiting, failures, dialogs, saved scenes."""

import sys
import time

import pytest

from host.conftest import SAMPLE


def test_widgets_and_parameters_follow_each_other(host, sample):
    import slicer

    parameters, ui = sample.parameterNode, sample.ui
    assert (ui.thresholdSlider.value, ui.thresholdSlider.maximum, ui.stepsBox.value) == (2.5, 10, 3)
    assert ui.modelBox.currentText == "large"
    ui.thresholdSlider.value = 7.5
    ui.mirrorBox.checked = True
    ui.noteEdit.text = "seen"
    ui.qualityBox.currentIndex = 1
    assert (parameters.threshold, parameters.mirror, parameters.note) == (7.5, True, "seen")
    assert parameters.quality.name == "FINE"
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "head")
    assert parameters.inputVolume is None
    ui.volumeSelector.setCurrentNode(volume)
    assert parameters.inputVolume is volume
    parameters.steps = 9
    parameters.model = "small"
    parameters.inputVolume = None
    assert (ui.stepsBox.value, ui.modelBox.currentText, ui.volumeSelector.currentNode()) == (9, "small", None)
    with pytest.raises(ValueError, match="WithinRange"):
        parameters.threshold = 11
    with pytest.raises(TypeError):
        parameters.steps = "two"


def test_parameters_survive_in_a_saved_scene(host, sample, tmp_path):
    import slicer

    sample.parameterNode.threshold = 4.25
    sample.parameterNode.note = "für später"
    sample.parameterNode.history.append("first")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "labels")
    sample.ui.segmentationSelector.setCurrentNode(segmentation)
    host.save_scene(tmp_path / "scene.mrb")

    slicer.mrmlScene.Clear(0)
    host.wait()
    assert sample.parameterNode.threshold == 2.5
    assert sample.ui.noteEdit.text == ""
    assert sample.ui.segmentationSelector.nodeCount() == 0

    host.load_scene(tmp_path / "scene.mrb")
    sample.initializeParameterNode()
    assert sample.parameterNode.threshold == sample.ui.thresholdSlider.value == 4.25
    assert sample.ui.noteEdit.text == "für später"
    assert sample.parameterNode.history == ["first"]
    assert sample.parameterNode.segmentation.GetName() == "labels"
    assert sample.ui.segmentsTable.segmentationNode() is sample.parameterNode.segmentation


def test_a_failing_slot_fails_the_test(host, sample):
    sample.ui.breakButton.click()
    with pytest.raises(ValueError, match="the slot failed"):
        host.wait()


def test_failures_in_timers_and_observers_are_raised_together(host):
    import qt
    import slicer

    def fail(*_):
        raise KeyError("lost")

    slicer.mrmlScene.AddObserver("ModifiedEvent", fail)
    slicer.mrmlScene.Modified()
    qt.QTimer.singleShot(0, fail)
    with pytest.raises(BaseExceptionGroup) as raised:
        host.wait(lambda: len(host.failures.found) == 2)
    assert [type(error) for error in raised.value.exceptions] == [KeyError, KeyError]


def test_dialogs_get_the_answers_that_were_given(host, sample):
    host.dialogs.answer("Cancel", "now?")
    sample.ui.applyButton.click()
    assert sample.ui.statusLabel.text == "Ready"
    host.dialogs.answer("OK")
    sample.ui.applyButton.click()
    assert sample.ui.statusLabel.text == "Done 3 steps"
    assert [(dialog.title, dialog.text) for dialog in host.dialogs.shown] == [("Sample", "Do it now?")] * 2
    assert sample.ui.resultTable.tableModel().data(sample.ui.resultTable.tableModel().index(0, 0)) == "0.75"


def test_a_dialog_nobody_spoke_of_fails_the_test(host, sample):
    from slicer_host import UnexpectedDialogError

    sample.ui.applyButton.click()
    assert sample.ui.statusLabel.text == "Ready"
    with pytest.raises(UnexpectedDialogError, match="Do it now"):
        host.wait()


def test_a_dialog_that_never_came_fails_the_test():
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    from slicer_host import SlicerHost

    with pytest.raises(AssertionError, match="no dialog has taken"), SlicerHost() as host:
        host.dialogs.answer("OK")


def test_files_are_asked_for_and_opened_elsewhere(host, sample):
    import qt

    host.dialogs.answer("/data/scans")
    sample.ui.folderEdit.browse()
    assert sample.ui.folderEdit.currentPath == "/data/scans"
    qt.QDesktopServices.openUrl(qt.QUrl("https://example.org/card"))
    assert host.opened_urls == ["https://example.org/card"]


def test_a_process_talks_and_ends(host, sample):
    sample.ui.echoButton.click()
    host.wait(lambda: sample.ui.statusLabel.text == "Echo ended with 0", 30)
    assert sample.received == ["desserts"]


def test_waiting_ends(host):
    with pytest.raises(TimeoutError):
        host.wait(lambda: False, 0.05)


def test_a_blocked_thread_is_noticed(host):
    with host.heartbeat() as beat:
        host.wait()
        time.sleep(0.1)
    assert 95 < beat.longest_ms < 1000


def test_a_module_is_reloaded(host, sample):
    import slicer

    cleaned = []
    sample.cleanup = lambda: (cleaned.append(True), sample.removeObservers())
    again = host.reload("HostSample")
    assert again is not sample
    assert cleaned == [True]
    assert slicer.modules.HostSampleWidget is again
    again.ui.stepsBox.value = 5
    assert again.parameterNode.steps == 5


def test_developers_reload_with_a_button(host):
    import qt
    import slicer

    qt.QSettings().setValue("Developer/DeveloperMode", True)
    first = host.open(SAMPLE)
    next(button for button in first.parent.findChildren(qt.QPushButton) if button.text == "Reload").click()
    host.wait()
    assert slicer.modules.HostSampleWidget is not first


def test_the_application_quits_with_the_host(host):
    import slicer

    calls = []
    slicer.app.connect("aboutToQuit()", lambda: calls.append("quit"))
    host.__exit__(None, None, None)
    host.__enter__()
    assert calls == ["quit"]


def test_modules_come_with_those_they_depend_on(host):
    import slicer

    host.open("NNMambaSegment")
    assert slicer.modules.nnmamba.path.endswith("NNMamba.py")
    slicer.util.selectModule("SegmentEditor")
    assert slicer.util.selectedModule() == "SegmentEditor"
    assert not slicer.modules.nnmambasegment.widgetRepresentation().isEntered


def test_a_module_is_cleaned_up_and_gone_when_closed(host, sample):
    import slicer

    host.close_module("HostSample")
    assert not slicer.mrmlScene.HasObserver("StartCloseEvent") or not sample.Observations
    assert "HostSample" not in sys.modules
    assert not hasattr(slicer.modules, "hostsample")


def test_settings_start_empty_and_nothing_is_installed(host):
    import slicer
    from slicer import packaging

    assert slicer.util.settingsValue("NNMamba/Device", "auto") == "auto"
    slicer.app.settings().setValue("NNMamba/Device", "cpu")
    assert slicer.util.settingsValue("NNMamba/Device", "auto") == "cpu"
    host.dialogs.answer("OK", "Install Python packages")
    packaging.pip_ensure(["numpy", "no-such-package>=1"], requester="HostSample")
    slicer.util.pip_install("another==2")
    assert host.installed == [["no-such-package>=1"], ["another==2"]]


def test_files_of_nodes_are_written_and_read(host, tmp_path):
    import numpy as np
    import slicer

    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume = slicer.util.addVolumeFromArray(voxels, name="head")
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    points.AddControlPoint([1.0, 2.0, 3.0], "Nasion")
    for node, name in ((volume, "head.nrrd"), (points, "points.mrk.json")):
        assert slicer.util.saveNode(node, str(tmp_path / name))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert np.array_equal(slicer.util.arrayFromVolume(slicer.util.loadVolume(str(tmp_path / "head.nrrd"))), voxels)
    assert slicer.util.loadMarkups(str(tmp_path / "points.mrk.json")).GetNthControlPointLabel(0) == "Nasion"
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert slicer.util.getNode("points").GetNthControlPointPosition(0) == (1.0, 2.0, 3.0)


def test_nothing_is_left_behind(host, sample):
    import slicer

    host.__exit__(None, None, None)
    assert not {"qt", "ctk", "HostSample", "slicer.i18n"} & set(sys.modules)
    assert not hasattr(slicer, "app")
    assert not hasattr(slicer, "qMRMLNodeComboBox")
    host.__enter__()
