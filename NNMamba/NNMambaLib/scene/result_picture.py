"""A picture of a result: axial, sagittal, coronal and 3-D view, drawn offscreen by Slicer's own view code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.export.four_views import LANDMARK_COLOR, compose, view_size, write_png
from NNMambaLib.export.slices import View
from NNMambaLib.files import check_writable
from NNMambaLib.results import LandmarksResult, SegmentationResult
from NNMambaLib.scene.headless import headless_application
from NNMambaLib.scene.landmarks import add_landmarks
from NNMambaLib.scene.rendering import add_slice, draw_slice, draw_three_d, render_window_class
from NNMambaLib.scene.segmentations import add_segmentation
from NNMambaLib.scene.volumes import add_volume
from NNMambaLib.volumes.volume import Volume

if TYPE_CHECKING:
    import slicer

# Of each slice view, named as Slicer's orientation: its axes to the right and upwards, as indices into RAS, and the
# letters at its left, right, top and bottom.
_SLICES = {
    "Axial": ((0, 1), "RLAP"),
    "Sagittal": ((1, 2), "APSI"),
    "Coronal": ((0, 2), "RLSI"),
}
# A slice view shows this many times the result's size, or the whole volume if that is less.
_MARGIN = 1.25
_LEAST_SHARE = 0.5
_FILL_OPACITY = 0.42
# A surface around at least this part of the others' centres would hide them; all such surfaces share this opacity.
_ENCLOSING = 0.25
_ENCLOSING_OPACITY = 0.3


def render_views(
    path: str | Path,
    volume: Volume,
    segmentation: SegmentationResult | None = None,
    landmarks: LandmarksResult | None = None,
    title: str | None = None,
    size: tuple[int, int] = (1600, 1200),
    overwrite: bool = False,
) -> Path:
    """Write a PNG with four views of a volume's first channel and of the results found in it, with a legend.

    The slices go through the centre of the results. The 3-D view shows the segments' smoothed surfaces, those around
    many others translucent, or else the three slices; never the skin. Landmarks carry the numbers of the legend.

    Args:
        title: heading; by default the volume's name.
        size: of the picture, width and height in pixels, at least 800 x 600.

    Returns:
        The path of the PNG.

    Raises:
        OutputError: if there is nothing to draw with, or the file cannot be written.
    """
    path = check_writable(path, overwrite)
    render_window_class()
    first = Volume(volume.array[:1], volume.matrix, volume.name)
    with headless_application() as application:
        scene = application.GetMRMLScene()
        volume_node = add_volume(scene, first)
        boxes = []
        if segmentation is not None:
            node = add_segmentation(scene, segmentation, volume_node, closed_surface=True)
            surfaces = _surface_boxes(node)
            _style_segmentation(node, surfaces)
            boxes += surfaces.values()
        if landmarks is not None:
            node = add_landmarks(scene, landmarks, volume_node)
            _style_landmarks(node)
            boxes += _point_boxes(node)
        box = _volume_box(volume_node)
        focus = _focus(boxes, box)
        pixels = view_size(size)
        extent = np.minimum((focus[1] - focus[0]) * _MARGIN, box[1] - box[0])
        slices = {
            name: add_slice(application, name, volume_node, focus.mean(0), extent[list(axes)], pixels)
            for name, (axes, _) in _SLICES.items()
        }
        views = [View(name, _SLICES[name][1], draw_slice(application, logic)) for name, logic in slices.items()]
        if segmentation is None:
            for logic in slices.values():
                logic.GetSliceNode().SetSliceVisible(True)
        views.append(View("3D", "", draw_three_d(application, focus, pixels)))
    write_png(compose(views, size, title or volume.name, segmentation, landmarks), path)
    return path


def _surface_boxes(node: slicer.vtkMRMLSegmentationNode) -> dict[str, np.ndarray]:
    """Return the box (lower and upper, RAS axis) in mm of each segment that has a surface."""
    return {
        identifier: np.array(surface.GetBounds()).reshape(3, 2).T
        for identifier in node.GetSegmentation().GetSegmentIDs()
        if (surface := node.GetClosedSurfaceInternalRepresentation(identifier)) and surface.GetNumberOfPoints()
    }


def _style_segmentation(node: slicer.vtkMRMLSegmentationNode, surfaces: dict[str, np.ndarray]) -> None:
    display = node.GetDisplayNode()
    display.SetOpacity2DFill(_FILL_OPACITY)
    display.SetOpacity2DOutline(1.0)
    centers = {identifier: box.mean(0) for identifier, box in surfaces.items()}
    enclosing = []
    for identifier, (lower, upper) in surfaces.items():
        others = [center for other, center in centers.items() if other != identifier]
        if others and np.mean([np.all((lower < center) & (center < upper)) for center in others]) >= _ENCLOSING:
            enclosing.append(identifier)
    if enclosing and len(enclosing) == len(surfaces):
        # Nested tissues: the innermost stays solid.
        enclosing.remove(min(enclosing, key=lambda identifier: np.prod(np.diff(surfaces[identifier], axis=0))))
    for identifier in enclosing:
        display.SetSegmentOpacity3D(identifier, _ENCLOSING_OPACITY / len(enclosing))


def _style_landmarks(node: slicer.vtkMRMLMarkupsFiducialNode) -> None:
    for index in range(node.GetNumberOfControlPoints()):
        node.SetNthControlPointLabel(index, str(index + 1))
    display = node.GetDisplayNode()
    display.SetSelectedColor(*(component / 255 for component in LANDMARK_COLOR))
    display.SetGlyphScale(2.2)
    display.SetTextScale(4.0)
    # Points near a slice, and those behind a surface, would not be seen otherwise.
    display.SetSliceProjection(True)
    display.SetSliceProjectionUseFiducialColor(True)
    display.SetSliceProjectionOpacity(0.6)
    display.SetOccludedVisibility(True)
    display.SetOccludedOpacity(0.6)


def _point_boxes(node: slicer.vtkMRMLMarkupsFiducialNode) -> list[np.ndarray]:
    """Return a box (lower and upper, RAS axis) in mm, without extent, for each point that has a position."""
    return [
        np.array([node.GetNthControlPointPositionWorld(index)] * 2)
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined
    ]


def _volume_box(node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Return the box (lower and upper, RAS axis) in mm around a volume."""
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return np.array(bounds).reshape(3, 2).T


def _focus(boxes: list[np.ndarray], volume_box: np.ndarray) -> np.ndarray:
    """Return the box that the views show: around all the given boxes, at least part of the volume's size."""
    if not boxes:
        return volume_box
    lower, upper = np.min(boxes, axis=0)[0], np.max(boxes, axis=0)[1]
    center, size = (lower + upper) / 2, np.maximum(upper - lower, _LEAST_SHARE * (volume_box[1] - volume_box[0]))
    return np.array([center - size / 2, center + size / 2])
