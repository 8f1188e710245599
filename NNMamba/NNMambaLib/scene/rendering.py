"""Drawing Slicer's slice and 3-D views offscreen, by its own displayable managers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.errors import OutputError
from NNMambaLib.runtime.child_python import child_environment, python_command
from NNMambaLib.scene.headless import slicer_libraries

if TYPE_CHECKING:
    import slicer
    import vtk

_SLICE_MANAGERS = ("vtkMRMLSegmentationsDisplayableManager2D", "vtkMRMLMarkupsDisplayableManager")
_THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)
# From the patient's left, front and above, in RAS.
_CAMERA_DIRECTION = (-0.62, 0.66, 0.42)
_CAMERA_ZOOM = 1.3
_BACKGROUND = (0.055, 0.06, 0.075)
_PROBE_SECONDS = 120


@lru_cache(maxsize=1)
def render_window_class() -> str:
    """Return the name of the VTK window class that can be drawn into on this machine.

    Found out in a process of its own, since drawing without a driver may end the process.

    Raises:
        OutputError: naming what is missing, if there is none.
    """
    slicer_libraries()
    probe = (
        "import vtkmodules.vtkRenderingOpenGL2; from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow; "
        "w = vtkRenderWindow(); w.SetOffScreenRendering(1); w.SetSize(8, 8); w.AddRenderer(vtkRenderer()); w.Render(); "
        "print(w.GetClassName() if w.SupportsOpenGL() else '')"
    )
    try:
        finished = subprocess.run(
            python_command(probe),
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise OutputError(
            f"OpenGL did not draw within {_PROBE_SECONDS} s: try again when the machine is less busy, or repair the "
            "graphics driver."
        ) from error
    name = finished.stdout.strip()
    if finished.returncode != 0 or not name:
        raise OutputError(
            "There is no OpenGL to draw the picture with: install a graphics driver, or Mesa's software renderer (on "
            "Debian and Ubuntu: apt install libegl1 libgl1-mesa-dri)."
        )
    return name


def add_slice(
    application: slicer.vtkSlicerApplicationLogic,
    orientation: str,
    volume_node: slicer.vtkMRMLVolumeNode,
    center: np.ndarray,
    extent: np.ndarray,
    pixels: tuple[int, int],
) -> slicer.vtkMRMLSliceLogic:
    """Add a slice through a volume to an application's scene; it exists as long as the returned logic.

    Args:
        orientation: ``Axial``, ``Sagittal`` or ``Coronal``.
        centre: RAS in mm, shown in the middle.
        extent: width and height in mm that must be seen.
        pixels: width and height of the view.
    """
    import slicer

    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(application.GetMRMLScene())
    application.GetSliceLogics().AddItem(logic)
    node = logic.AddSliceNode(orientation)
    node.SetOrientation(orientation)
    logic.ResizeSliceNode(*pixels)
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume_node.GetID())
    scale = max(np.asarray(extent) / pixels)
    node.SetFieldOfView(pixels[0] * scale, pixels[1] * scale, node.GetFieldOfView()[2])
    node.JumpSliceByCentering(*center)
    return logic


def draw_slice(application: slicer.vtkSlicerApplicationLogic, logic: slicer.vtkMRMLSliceLogic) -> np.ndarray:
    """Return what a slice view shows: (row from the top, column, RGB) of uint8."""
    import vtk

    mapper = vtk.vtkImageMapper()
    mapper.SetInputConnection(logic.GetImageDataConnection())
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    image = vtk.vtkActor2D()
    image.SetMapper(mapper)
    image.GetProperty().SetDisplayLocationToBackground()
    renderer = vtk.vtkRenderer()
    renderer.AddViewProp(image)
    node = logic.GetSliceNode()
    return _drawn(application, renderer, node, _SLICE_MANAGERS, node.GetDimensions()[:2])


def draw_three_d(application: slicer.vtkSlicerApplicationLogic, box: np.ndarray, pixels: tuple[int, int]) -> np.ndarray:
    """Return what a 3-D view of a box shows, seen from the left, front and above: (row from the top, column, RGB).

    Args:
        box: (lower and upper, RAS axis) in mm.
    """
    import slicer
    import vtk

    logic = slicer.vtkMRMLViewLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(application.GetMRMLScene())
    node = logic.AddViewNode("1")
    node.SetBoxVisible(False)
    node.SetAxisLabelsVisible(False)
    node.SetBackgroundColor(_BACKGROUND)
    node.SetBackgroundColor2(_BACKGROUND)
    node.SetUseDepthPeeling(True)
    renderer = vtk.vtkRenderer()

    def look() -> None:
        camera = renderer.GetActiveCamera()
        camera.SetFocalPoint(*box.mean(0))
        camera.SetPosition(*(box.mean(0) + np.array(_CAMERA_DIRECTION)))
        camera.SetViewUp(0, 0, 1)
        renderer.ResetCamera(*box.T.ravel())
        camera.Zoom(_CAMERA_ZOOM)
        renderer.ResetCameraClippingRange()

    return _drawn(application, renderer, node, _THREE_D_MANAGERS, pixels, look)


def _drawn(
    application: slicer.vtkSlicerApplicationLogic,
    renderer: vtk.vtkRenderer,
    view_node: slicer.vtkMRMLAbstractViewNode,
    managers: tuple[str, ...],
    pixels: tuple[int, int],
    look: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Return what displayable managers draw for a view node: (row from the top, column, RGB) of uint8.

    Args:
        look: called before drawing, once the managers have made their actors and the camera.
    """
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    window = getattr(vtk, render_window_class())()
    window.SetOffScreenRendering(True)
    # With eight samples, depth peeling loses translucent surfaces.
    window.SetMultiSamples(0)
    window.SetAlphaBitPlanes(True)
    window.SetSize(*pixels)
    window.AddRenderer(renderer)
    # The markups' manager warns without it, and two surfaces in one place would flicker.
    vtk.vtkMapper.SetResolveCoincidentTopologyToPolygonOffset()
    interactor = vtk.vtkGenericRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(renderer)
    for class_name in managers:
        manager = getattr(slicer, class_name)()
        manager.SetMRMLApplicationLogic(application)
        group.AddDisplayableManager(manager)
    group.SetMRMLDisplayableNode(view_node)
    look()
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    drawn = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*image.GetDimensions()[1::-1], 3)[::-1].copy()
    group.SetMRMLDisplayableNode(None)
    window.Finalize()
    return drawn
