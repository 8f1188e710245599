"""Stand-ins for the views: Slicer's displayable managers and VTK's charts draw offscreen, the widgets show the images.

A view is drawn when it is looked at, by a screenshot or by `forceRender`, not whenever something changes: software
rendering would take time from the panels under test.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from NNMambaLib.scene.rendering import render_window_class
from slicer_host.members import assigns
from slicer_host.mrml_widgets import qMRMLTableView, qMRMLWidget
from slicer_host.observers import Observers
from slicer_host.pythonqt import StandIn

_SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
_THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)
_SMALLEST = 64


class _Picture:
    """A render window that no one sees, with one renderer."""

    def __init__(self):
        # The class that the factory of VTK would choose, without its complaint that there is no screen.
        self.window = getattr(vtk, render_window_class())()
        self.window.SetOffScreenRendering(True)
        # With more samples, translucent surfaces are lost under depth peeling.
        self.window.SetMultiSamples(0)
        self.window.SetAlphaBitPlanes(True)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        vtk.vtkMapper.SetResolveCoincidentTopologyToPolygonOffset()

    def draw(self, size: tuple[int, int]) -> QtGui.QImage:
        self.window.SetSize(*size)
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        pixels = vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars())
        pixels = np.ascontiguousarray(pixels.reshape(size[1], size[0], 3)[::-1])
        return QtGui.QImage(pixels.data, *size, size[0] * 3, QtGui.QImage.Format_RGB888).copy()

    def close(self) -> None:
        self.window.Finalize()


class _View:
    """Mixed into the view widgets: shows the last image. What draws it is made when it is first needed."""

    _made_picture = None
    _image = None

    @property
    def _picture(self):
        if self._made_picture is None:
            self._made_picture = _Picture()
            self._set_up(self._made_picture.renderer)
        return self._made_picture

    def _draw(self):
        self._image = self._picture.draw((max(self.width, _SMALLEST), max(self.height, _SMALLEST)))
        self.update()

    def _close(self):
        if self._made_picture is not None:
            self._made_picture.close()

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        if self._image is None:
            painter.fillRect(self.rect, QtGui.QColor("#202226"))
        else:
            painter.drawImage(self.rect, self._image)


class ctkVTKAbstractView(_View, StandIn, QtWidgets.QWidget):
    def __init__(self, application_logic, node):
        super().__init__()
        self.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Ignored)
        self._application_logic = application_logic
        self._node = node
        self._group = slicer.vtkMRMLDisplayableManagerGroup()

    def renderWindow(self):
        return self._picture.window

    def interactor(self):
        return self._picture.interactor

    def scheduleRender(self):
        """The view is drawn when it is looked at."""

    def forceRender(self):
        self._draw()

    def _set_up(self, renderer):
        self._group.SetRenderer(renderer)
        for class_name in self._MANAGERS:
            manager = getattr(slicer, class_name)()
            manager.SetMRMLApplicationLogic(self._application_logic)
            self._group.AddDisplayableManager(manager)
        self._group.SetMRMLDisplayableNode(self._node)

    def _close(self):
        self._group.SetMRMLDisplayableNode(None)
        super()._close()


class ctkVTKSliceView(ctkVTKAbstractView):
    pass


class qMRMLSliceView(ctkVTKSliceView):
    _MANAGERS = _SLICE_MANAGERS

    def __init__(self, application_logic, logic):
        super().__init__(application_logic, logic.GetSliceNode())
        self._logic = logic
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()

    def _set_up(self, renderer):
        renderer.AddViewProp(self._actor)
        super()._set_up(renderer)

    def mrmlSliceNode(self):
        return self._node

    def resizeEvent(self, event):
        self._logic.ResizeSliceNode(max(self.width, _SMALLEST), max(self.height, _SMALLEST))

    def _draw(self):
        connection = self._logic.GetImageDataConnection()
        self._actor.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        super()._draw()


class ctkVTKRenderView(ctkVTKAbstractView):
    def resetFocalPoint(self):
        """Look at the middle of what is shown."""
        bounds = self._bounds()
        if vtk.vtkMath.AreBoundsInitialized(bounds):
            middle = np.reshape(bounds, (3, 2)).mean(1)
            camera = self._picture.renderer.GetActiveCamera()
            shift = middle - camera.GetFocalPoint()
            camera.SetPosition(*(camera.GetPosition() + shift))
            camera.SetFocalPoint(*middle)
            self._picture.renderer.ResetCameraClippingRange()

    def _bounds(self):
        return self._picture.renderer.ComputeVisiblePropBounds()


class qMRMLThreeDView(ctkVTKRenderView):
    _MANAGERS = _THREE_D_MANAGERS

    def mrmlViewNode(self):
        return self._node

    def cameraNode(self):
        return slicer.modules.cameras.logic().GetViewActiveCameraNode(self._node)

    def resetCamera(self):
        """Move the camera back or forth until all that is shown fills the view."""
        bounds = self._bounds()
        if vtk.vtkMath.AreBoundsInitialized(bounds):
            self._picture.renderer.ResetCamera(bounds)

    def rotateToViewAxis(self, axis):
        """Look from one side: 0 and 1 from left and right, 2 and 3 from behind and front, 4 and 5 from below, above."""
        camera = self._picture.renderer.GetActiveCamera()
        direction = np.zeros(3)
        direction[axis // 2] = -1 if axis % 2 == 0 else 1
        camera.SetPosition(*(np.array(camera.GetFocalPoint()) + direction * camera.GetDistance()))
        camera.SetViewUp(*((0, 0, 1) if axis < 4 else (0, 1, 0)))
        self._picture.renderer.ResetCameraClippingRange()

    def _bounds(self):
        box, labels = self._node.GetBoxVisible(), self._node.GetAxisLabelsVisible()
        self._node.SetBoxVisible(False)
        self._node.SetAxisLabelsVisible(False)
        bounds = super()._bounds()
        self._node.SetBoxVisible(box)
        self._node.SetAxisLabelsVisible(labels)
        return bounds


class ctkVTKChartView(_View, StandIn, QtWidgets.QWidget):
    def __init__(self, parent=None):
        super().__init__(parent)
        self.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Ignored)
        self._actor = vtk.vtkContextActor()
        self._chart = vtk.vtkChartXY()
        self._actor.GetScene().AddItem(self._chart)

    def _set_up(self, renderer):
        renderer.SetBackground(1, 1, 1)
        self._actor.GetScene().SetRenderer(renderer)
        renderer.AddActor(self._actor)

    def chart(self):
        return self._chart


class qMRMLPlotView(ctkVTKChartView):
    """Draws the chart of a view node with VTK, as Slicer does; labels of points are for the mouse and not seen."""

    _view_node = None

    def setMRMLPlotViewNode(self, view_node):
        self._view_node = view_node

    def setMRMLScene(self, scene):
        """The view node knows its scene."""

    def fitToContent(self):
        self._chart.RecalculateBounds()

    def _draw(self):
        self._chart.ClearPlots()
        node = self._view_node.GetPlotChartNode() if self._view_node is not None else None
        for index in range(node.GetNumberOfPlotSeriesNodes() if node is not None else 0):
            self._add_series(node.GetNthPlotSeriesNode(index))
        if node is not None:
            self._chart.SetTitle(node.GetTitle() or "")
            self._chart.SetShowLegend(node.GetLegendVisibility())
            for side, name in ((vtk.vtkAxis.BOTTOM, "X"), (vtk.vtkAxis.LEFT, "Y")):
                axis, automatic = self._chart.GetAxis(side), getattr(node, f"Get{name}AxisRangeAuto")()
                axis.SetTitle(getattr(node, f"Get{name}AxisTitle")() or "")
                axis.SetGridVisible(node.GetGridVisibility())
                axis.SetBehavior(vtk.vtkAxis.AUTO if automatic else vtk.vtkAxis.FIXED)
                if not automatic:
                    axis.SetRange(*getattr(node, f"Get{name}AxisRange")())
        self._chart.RecalculateBounds()
        super()._draw()

    def _add_series(self, series):
        if series is None or series.GetTableNode() is None:
            return
        is_line = series.GetPlotType() in (series.PlotTypeLine, series.PlotTypeScatter)
        plot = self._chart.AddPlot(vtk.vtkChart.LINE if is_line else vtk.vtkChart.BAR)
        y = series.GetYColumnName()
        plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
        plot.SetInputData(series.GetTableNode().GetTable(), series.GetXColumnName() or y, y)
        plot.SetColorF(*series.GetColor())
        plot.SetLabel(series.GetName())
        if is_line:
            plot.SetWidth(series.GetLineWidth())
            plot.SetMarkerStyle(series.GetMarkerStyle())


class qMRMLAbstractViewWidget(qMRMLWidget):
    """A view below its title bar."""

    def __init__(self, node, view, title=""):
        super().__init__()
        self._node = node
        self._view = view
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._bar = QtWidgets.QWidget()
        self._bar.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        row = QtWidgets.QHBoxLayout(self._bar)
        row.setContentsMargins(6, 1, 6, 1)
        row.addWidget(QtWidgets.QLabel(title))
        column.addWidget(self._bar)
        column.addWidget(view, 1)

    def _close(self):
        if hasattr(self._view, "_close"):
            self._view._close()

    def _color(self, color):
        self._bar.setAutoFillBackground(True)
        palette = self._bar.palette
        palette.setColor(QtGui.QPalette.Window, color)
        self._bar.setPalette(palette)


class qMRMLSliceWidget(qMRMLAbstractViewWidget):
    """A slice view with the slider that moves the slice."""

    def __init__(self, application_logic, node):
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(application_logic.GetMRMLScene())
        self._logic.SetSliceNode(node)
        super().__init__(node, qMRMLSliceView(application_logic, self._logic), node.GetLayoutLabel())
        self._color(QtGui.QColor.fromRgbF(*node.GetLayoutColor()))
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._offset = QtWidgets.QLabel()
        self._bar.layout().addWidget(self._slider, 1)
        self._bar.layout().addWidget(self._offset)
        self._slider.connect("valueChanged(int)", self._move)
        self._observers = Observers(self)
        self._observers.add(node, "ModifiedEvent", method="_show_offset")
        self._show_offset()

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._node

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def sliceView(self):
        return self._view

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()

    sliceViewName = property(lambda self: self._node.GetLayoutName())
    sliceOrientation = property(
        lambda self: self._node.GetOrientation(), lambda self, orientation: self._node.SetOrientation(orientation)
    )
    setSliceOrientation = assigns("sliceOrientation")

    def _close(self):
        super()._close()
        self._observers.clear()
        self._logic.SetMRMLScene(None)

    def _move(self, tenths):
        self._logic.SetSliceOffset(tenths / 10)

    def _show_offset(self):
        bounds, offset = [0.0] * 6, self._logic.GetSliceOffset()
        self._logic.GetSliceBounds(bounds)
        blocked = self._slider.blockSignals(True)
        if vtk.vtkMath.AreBoundsInitialized(bounds):
            self._slider.setRange(*sorted(round(value * 10) for value in bounds[4:]))
        self._slider.setValue(round(offset * 10))
        self._slider.blockSignals(blocked)
        self._offset.text = f"{offset:.1f} mm"


class qMRMLThreeDWidget(qMRMLAbstractViewWidget):
    def __init__(self, application_logic, node):
        self._logic = slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(application_logic.GetMRMLScene())
        super().__init__(node, qMRMLThreeDView(application_logic, node), node.GetLayoutLabel())
        self._color(QtGui.QColor("#a3a7d8"))

    def threeDView(self):
        return self._view

    def mrmlViewNode(self):
        return self._node

    def viewLogic(self):
        return self._logic

    def _close(self):
        super()._close()
        self._logic.SetMRMLScene(None)


class qMRMLTableWidget(qMRMLAbstractViewWidget):
    def __init__(self, application_logic, node):
        view = qMRMLTableView()
        view.setMRMLTableViewNode(node)
        super().__init__(node, view, node.GetLayoutLabel())

    def tableView(self):
        return self._view

    def mrmlTableViewNode(self):
        return self._node


class qMRMLPlotWidget(qMRMLAbstractViewWidget):
    def __init__(self, application_logic, node):
        view = qMRMLPlotView()
        view.setMRMLPlotViewNode(node)
        super().__init__(node, view, node.GetLayoutLabel())

    def plotView(self):
        return self._view

    def mrmlPlotViewNode(self):
        return self._node


def draw_views(window: QtWidgets.QWidget) -> None:
    """Draw all views that are seen in a window."""
    for widget in window.findChildren(QtWidgets.QWidget):
        if isinstance(widget, _View) and widget.visible:
            widget._draw()
