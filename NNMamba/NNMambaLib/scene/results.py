"""Any task's result into a MRML scene."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from NNMambaLib.results import ClassificationResult, LandmarksResult, Result, SegmentationResult
from NNMambaLib.scene.classifications import add_classification
from NNMambaLib.scene.landmarks import add_landmarks
from NNMambaLib.scene.segmentations import add_segmentation

if TYPE_CHECKING:
    import slicer


@singledispatch
def add_result(
    result: Result, scene: slicer.vtkMRMLScene, reference_node: slicer.vtkMRMLVolumeNode
) -> slicer.vtkMRMLNode:
    """Add a result of a volume to a scene, surfaces for 3-D views included; return its node.

    Raises:
        TypeError: if there is no kind of node for such a result.
    """
    raise TypeError(f"A scene has no node for a {type(result).__name__}.")


@add_result.register
def _(result: SegmentationResult, scene, reference_node):
    return add_segmentation(scene, result, reference_node, closed_surface=True)


@add_result.register
def _(result: LandmarksResult, scene, reference_node):
    return add_landmarks(scene, result, reference_node)


@add_result.register
def _(result: ClassificationResult, scene, reference_node):
    return add_classification(scene, result, reference_node)
