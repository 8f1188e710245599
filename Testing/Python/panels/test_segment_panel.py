"""The panel NNMamba Segment, driven as a user would, on a tiny model."""

import numpy as np
import pytest

from panels.conftest import choose_model


@pytest.fixture
def widget(host, head):
    widget = host.open("NNMambaSegment")
    choose_model(widget, "nearest-number")
    return widget


@pytest.fixture
def ui(widget):
    return widget.lifecycle.panel.ui


def run(host, widget):
    """Press Apply and wait for the end."""
    ui = widget.lifecycle.panel.ui
    assert ui.applyButton.enabled, ui.applyButton.toolTip
    ui.applyButton.click()
    assert widget.lifecycle.panel.running
    host.wait(lambda: not widget.lifecycle.panel.running, 120)


def test_volume_is_chosen_by_itself_and_apply_is_ready(host, head, ui):
    assert ui.inputSelector0.currentNode() is head
    assert ui.applyButton.enabled
    assert ui.applyButton.text == "Apply"
    assert not ui.inputSelector1.visible


def test_apply_adds_the_segmentation_of_the_engine(host, head, widget, ui, phantom):
    from NNMambaLib.engine import Engine
    from NNMambaLib.scene import volume_from_node

    run(host, widget)
    node = ui.outputSelector.currentNode()
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(3)] == ["low", "middle", "high"]
    assert node.GetAttribute("NNMamba.Model") == "nearest-number"
    expected = Engine("cpu").segment(volume_from_node(head), "nearest-number")
    shown = {ui.volumesTable.item(row, 0).text(): ui.volumesTable.item(row, 1).text() for row in range(3)}
    assert shown == {name: f"{volume:.1f}" for name, volume in expected.volumes_ml.items()}
    assert "nearest-number" in ui.messageLabel.text
    assert ui.applyButton.text == "Apply"
