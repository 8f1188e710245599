"""What passes in the host passes in Slicer: PythonQt's rules, and the real widgets' members."""

import functools

import pytest


def test_a_property_shadows_its_getter(host):
    import qt

    label = qt.QLabel("seen")
    assert label.text == "seen"
    with pytest.raises(TypeError, match="not callable"):
        label.text()
    label.text = "set"
    label.alignment = qt.Qt.AlignCenter
    assert (label.text, label.alignment) == ("set", qt.Qt.AlignCenter)
    label.setText("called")
    assert label.text == "called"
    label.objectName = "it"
    assert label.name == "it"


@pytest.mark.parametrize(("name", "value"), [("tooltip", "x"), ("setText", "x"), ("text", None), ("height", 3)])
def test_an_attribute_that_is_no_property_cannot_be_set(host, name, value):
    import qt

    with pytest.raises(AttributeError):
        setattr(qt.QLabel(), name, value)


def test_classes_of_a_panel_may_have_attributes_of_their_own(host):
    import qt

    class Row(qt.QWidget):
        pass

    row = Row()
    row.volume = 3
    row.toolTip = "known"
    assert (row.volume, row.toolTip) == (3, "known")


@pytest.mark.parametrize("name", ["Signal", "Slot", "Property", "NoSuchClass", "QNoSuchClass", "QtCore"])
def test_what_pythonqt_lacks_is_not_there(host, name):
    import qt

    with pytest.raises(AttributeError):
        getattr(qt, name)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        ("qMRMLNodeComboBox", "setNodeTypes"),
        ("qMRMLNodeComboBox", "foo"),
        ("qMRMLSegmentsTableView", "setSegmentCount"),
        ("qMRMLWidget", "segmentationNode"),
    ],
)
def test_methods_that_are_neither_slots_nor_invokable_do_not_exist(host, cls, name):
    import slicer

    with pytest.raises(AttributeError):
        getattr(getattr(slicer, cls)(), name)


def test_members_that_only_slicer_has_are_told_apart(host):
    import slicer

    with pytest.raises(AttributeError, match="the test host does not offer"):
        slicer.qMRMLNodeComboBox().addMenuAction("x")


def test_stand_ins_cannot_offer_more_than_the_real_class(host):
    from PySide6 import QtWidgets

    from slicer_host.pythonqt import StandIn

    with pytest.raises(TypeError, match="the real ctkSliderWidget has no function setMinimum"):
        type(
            "ctkSliderWidget",
            (StandIn, QtWidgets.QWidget),
            {"__module__": "slicer_host.x", "setMinimum": lambda self, value: None},
        )


def test_callables_get_as_many_arguments_as_they_name(host):
    import qt

    calls = []
    box = qt.QSpinBox()
    box.connect("valueChanged(int)", lambda: calls.append("none"))
    box.connect("valueChanged(int)", lambda value: calls.append(value))
    box.connect("valueChanged(int)", lambda value=None, other="kept": calls.append((value, other)))
    box.valueChanged.connect(functools.partial(calls.append))
    box.value = 5
    assert calls == ["none", 5, (5, "kept"), 5]


def test_connections_end_and_wrong_signals_are_refused(host):
    import ctk
    import qt

    calls = []
    button, slider = qt.QPushButton(), ctk.ctkSliderWidget()
    for widget, signal in ((button, "clicked()"), (slider, "valueChanged(double)")):
        widget.connect(signal, calls.append) if widget is slider else widget.connect(signal, lambda: calls.append("b"))
    slider.value = 4
    assert slider.disconnect("valueChanged(double)", calls.append)
    assert not slider.disconnect("valueChanged(double)", calls.append)
    slider.value = 5
    slider.connect("valueChanged(double)", calls.append)
    slider.blockSignals(True)
    slider.value = 6
    assert calls == [4.0]
    for widget, signal in ((button, "pushed()"), (slider, "valueChanged(int)")):
        with pytest.raises(ValueError, match="no signal"):
            widget.connect(signal, print)


def test_node_selectors_follow_the_scene(host):
    import slicer

    changes = []
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.connect("currentNodeChanged(vtkMRMLNode*)", changes.append)
    box.setMRMLScene(slicer.mrmlScene)
    first = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "first")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "table")
    second = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "second")
    assert (box.currentNode(), box.nodeCount()) == (first, 2)
    box.showChildNodeTypes = False
    assert box.nodeCount() == 1
    box.showChildNodeTypes = True
    box.setCurrentNodeID(second.GetID())
    slicer.mrmlScene.RemoveNode(second)
    assert box.currentNodeID == first.GetID()
    assert changes == [first, second, first]
    added = box.addNode()
    assert box.currentNode() is added
    host.dialogs.answer("renamed")
    box.renameCurrentNode()
    assert added.GetName() == "renamed"
    box.removeCurrentNode()
    slicer.mrmlScene.Clear(0)
    assert box.currentNode() is None
    assert box.currentNodeID == ""


def test_unions_that_slicer_cannot_keep_are_refused(host):
    import slicer
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(TypeError, match="may be None as it is"):

        @parameterNodeWrapper
        class Parameters:
            volume: slicer.vtkMRMLVolumeNode | None
