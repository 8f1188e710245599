"""Segmentations into a MRML scene: new ones, and in place of what a node holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.export.segments import TERMINOLOGY_TAG, segment_ids, terminology_entry, unit_color
from NNMambaLib.models.manifest import Label
from NNMambaLib.results import Provenance, SegmentationResult
from NNMambaLib.scene.geometry import filled_image, vtk_matrix, world_matrix
from NNMambaLib.scene.nodes import all_or_nothing, in_scene, new_result_node, result_name
from NNMambaLib.scene.probability_volumes import add_probability_volumes
from NNMambaLib.scene.provenance import describe_node, provenance_attributes
from NNMambaLib.volumes.volume import LPS_TO_RAS, Volume

if TYPE_CHECKING:
    import slicer


def add_segmentation(
    scene: slicer.vtkMRMLScene,
    result: SegmentationResult,
    reference_node: slicer.vtkMRMLVolumeNode | None = None,
    name: str | None = None,
    closed_surface: bool = False,
) -> slicer.vtkMRMLSegmentationNode:
    """Add a segmentation with one segment for each label, also for labels without voxels, all in one layer.

    Args:
        reference_node: the volume that was segmented; its geometry becomes the segmentation's reference geometry.
            Without it, the labels' own grid is used.
        name: of the node; by default the reference's or the model's, with "segmentation".
        closed_surface: also make the surfaces that 3-D views show.
    """
    with all_or_nothing(scene):
        name = name or result_name("segmentation", result.provenance, reference_node)
        node = new_result_node(scene, "vtkMRMLSegmentationNode", name, result.provenance)
        node.CreateDefaultDisplayNodes()
        _fill_segmentation(node, result, reference_node)
        if closed_surface and not node.CreateClosedSurfaceRepresentation():
            raise RuntimeError("Slicer could not make the closed surfaces.")
    return node


@dataclass(frozen=True)
class SegmentationContent:
    """The content of a segmentation node: its segments, and the attributes that describe them."""

    segmentation: slicer.vtkSegmentation
    attributes: dict[str, str | None]


def replace_segmentation(
    node: slicer.vtkMRMLSegmentationNode,
    result: SegmentationResult,
    reference_node: slicer.vtkMRMLVolumeNode | None = None,
) -> SegmentationContent:
    """Put a result into a segmentation node in place of what it holds, which is returned for `restore_segmentation`.

    The node's linear parent transform stays: the segments lie where the voxels are seen.

    Raises:
        VolumeError: if the node's parent transform is not linear; the node is as it was.
    """
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        raise VolumeError(
            f"The segmentation {node.GetName()} is under the non-linear transform {transform.GetName()}: harden it, or "
            "choose another output."
        )
    node.GetScene().SaveStateForUndo()
    before = _segmentation_content(node, result.provenance)
    was_modifying = node.StartModify()
    try:
        node.GetSegmentation().RemoveAllSegments()
        _fill_segmentation(node, result, reference_node)
        describe_node(node, result.provenance)
    except BaseException:
        restore_segmentation(node, before)
        raise
    finally:
        node.EndModify(was_modifying)
    return before


def put_segmentation(
    result: SegmentationResult,
    reference_node: slicer.vtkMRMLVolumeNode,
    output: slicer.vtkMRMLSegmentationNode | None = None,
    name: str | None = None,
) -> tuple[slicer.vtkMRMLSegmentationNode, SegmentationContent | None]:
    """Put a result with its probability and uncertainty volumes into the scene of the volume it is of, all or nothing.

    Args:
        output: the node whose content is replaced; None, or one that was removed, adds a node.
        name: of a new node; see `add_segmentation`.

    Returns:
        The node, and what it held before: None where it is new.

    Raises:
        VolumeError: see `replace_segmentation`.
    """
    scene, output = reference_node.GetScene(), in_scene(output)
    with all_or_nothing(scene):
        add_probability_volumes(scene, result, reference_node)
        if output is None:
            return add_segmentation(scene, result, reference_node, name), None
        return output, replace_segmentation(output, result, reference_node)


def restore_segmentation(node: slicer.vtkMRMLSegmentationNode, content: SegmentationContent) -> None:
    """Put back what `replace_segmentation` replaced."""
    was_modifying = node.StartModify()
    node.GetSegmentation().DeepCopy(content.segmentation)
    for name, value in content.attributes.items():
        if value is None:
            node.RemoveAttribute(name)
        else:
            node.SetAttribute(name, value)
    node.EndModify(was_modifying)


def _segmentation_content(node: slicer.vtkMRMLSegmentationNode, provenance: Provenance) -> SegmentationContent:
    import slicer

    copy = slicer.vtkSegmentation()
    copy.DeepCopy(node.GetSegmentation())
    return SegmentationContent(copy, {name: node.GetAttribute(name) for name in provenance_attributes(provenance)})


def _fill_segmentation(
    node: slicer.vtkMRMLSegmentationNode,
    result: SegmentationResult,
    reference_node: slicer.vtkMRMLVolumeNode | None,
) -> None:
    """Add a result's segments to a node without any."""
    labels = result.label_definitions
    segmentation = node.GetSegmentation()
    node.SetSourceRepresentationToBinaryLabelmap()
    transform = node.GetParentTransformNode()
    to_node = np.eye(4) if transform is None else np.linalg.inv(world_matrix(transform))
    layer = _label_layer(result.labels, to_node)
    for identifier, label in zip(segment_ids(labels), labels, strict=True):
        if not segmentation.AddSegment(_segment(layer, label), identifier):
            raise RuntimeError(f"Slicer refused the segment {label.name}.")
    if reference_node is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference_node)
    else:
        _set_reference_geometry(segmentation, layer)


def _label_layer(labels: Volume, to_node: np.ndarray) -> slicer.vtkOrientedImageData:
    """Return labels as a segment's image; `to_node` takes world positions (RAS) to the node's own."""
    import slicer

    layer = filled_image(slicer.vtkOrientedImageData(), labels)
    layer.SetImageToWorldMatrix(vtk_matrix(to_node @ LPS_TO_RAS @ labels.matrix))
    return layer


def _segment(layer: slicer.vtkOrientedImageData, label: Label) -> slicer.vtkSegment:
    import slicer

    segment = slicer.vtkSegment()
    segment.SetName(label.name)
    segment.SetColor(unit_color(label))
    segment.SetLabelValue(label.value)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    if label.terminology is not None:
        segment.SetTag(TERMINOLOGY_TAG, terminology_entry(label.terminology))
    segment.AddRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(), layer)
    return segment


def _set_reference_geometry(segmentation: slicer.vtkSegmentation, layer: slicer.vtkOrientedImageData) -> None:
    import slicer

    converter = slicer.vtkSegmentationConverter
    segmentation.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(layer)
    )
