"""The views of the host show the scene."""

import numpy as np
import pytest


@pytest.fixture
def scan(host):
    """A volume with a bright left half, and a segmentation with a red ball that is off the middle."""
    import slicer

    z, y, x = np.meshgrid(np.arange(30), np.arange(40), np.arange(36), indexing="ij")
    # The identity's first axis points to the right.
    volume = slicer.util.addVolumeFromArray(np.where(x < 18, 200, 50).astype(np.int16), name="head")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "ball")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("ball", "Ball", (1.0, 0.0, 0.0))
    ball = (x - 26) ** 2 + (y - 20) ** 2 + (z - 15) ** 2 < 36
    slicer.util.updateSegmentBinaryLabelmapFromArray(ball.astype(np.uint8), segmentation, "ball", volume)
    return volume, segmentation


def pixels_of(path):
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[..., :3].astype(int)


def of_view(pixels, host, view):
    """Return a view's part of a screenshot."""
    from PySide6 import QtCore

    corner = view.mapTo(host.main_window, QtCore.QPoint(0, 0))
    left, top = corner.x(), corner.y()
    return pixels[top : top + view.height, left : left + view.width]


def reddish(pixels):
    return pixels[..., 0] - np.maximum(pixels[..., 1], pixels[..., 2]) > 60


def test_four_views_show_a_volume_and_its_segmentation(host, sample, scan, tmp_path):
    import slicer

    volume, segmentation = scan
    sample.ui.segmentationSelector.setCurrentNode(segmentation)
    host.screenshot(tmp_path / "empty.png")
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    for name in host.layout.sliceViewNames():
        host.layout.sliceWidget(name).sliceLogic().GetSliceNode().JumpSliceByOffsetting(26, 20, 15)
    assert not sample.ui.show3DButton.checked
    sample.ui.show3DButton.click()
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    view.resetFocalPoint()
    view.resetCamera()
    assert view.cameraNode().GetCamera().GetFocalPoint() == pytest.approx((26, 20, 15), abs=1)
    host.screenshot(tmp_path / "full.png")

    empty, full = pixels_of(tmp_path / "empty.png"), pixels_of(tmp_path / "full.png")
    assert full.shape == empty.shape
    assert full.shape[1] == 1600
    assert host.layout.sliceViewNames() == ["Red", "Green", "Yellow"]
    slices = {name: host.layout.sliceWidget(name).sliceView() for name in host.layout.sliceViewNames()}
    for name, shown in {**slices, "3D": view}.items():
        assert not reddish(of_view(empty, host, shown)).any(), name
        assert 0.01 < reddish(of_view(full, host, shown)).mean() < 0.6, name
    # The left of the picture is the patient's right: dark, and there is the ball.
    axial = of_view(full, host, slices["Red"])
    middle = axial.shape[1] / 2
    assert np.argwhere(reddish(axial))[:, 1].mean() < middle
    assert np.flatnonzero(axial[axial.shape[0] // 8].mean(-1) > 128).mean() > middle


def test_a_picture_of_the_panel_alone(host, sample, tmp_path):
    host.screenshot(tmp_path / "panel.png", views=False)
    pixels = pixels_of(tmp_path / "panel.png")
    assert 300 < pixels.shape[1] < 600
    assert pixels.std() > 10


def test_layouts_show_tables_and_charts(host, sample, tmp_path):
    import slicer

    host.layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotTableView)
    table = sample.logic.makeTable()
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActiveTableID(table.GetID())
    slicer.app.applicationLogic().PropagateTableSelection()
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "probability")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetYColumnName("probability")
    series.SetPlotType(series.PlotTypeBar)
    series.SetColor(1.0, 0.0, 0.0)
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "chart")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    host.layout.plotWidget(0).mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
    host.screenshot(tmp_path / "chart.png")
    assert reddish(of_view(pixels_of(tmp_path / "chart.png"), host, host.layout.plotWidget(0).plotView())).mean() > 0.05
    assert host.layout.tableWidget(0).tableView().mrmlTableNode() is table

    host.layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    host.wait()
    assert host.layout.sliceWidget("Red").visible
    assert not host.layout.plotWidget(0).visible
