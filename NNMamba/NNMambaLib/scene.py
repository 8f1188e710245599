"""Volumes out of a MRML scene, and results into it.

MRML has positions in RAS and the rest of the package in LPS: `_FLIP` is the one place where they meet.

Results are computed in world space, because a volume's parent transforms are applied before the engine sees it. So the
nodes made here have no parent transform, and lie where the voxels are seen, also where the input volume has one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.markups_json import landmark_description
from NNMambaLib.models.manifest import Label
from NNMambaLib.results import RESEARCH_USE, LandmarksResult, Provenance, SegmentationResult
from NNMambaLib.segments import TERMINOLOGY_TAG, segment_ids, terminology_entry, unit_color
from NNMambaLib.volume import Volume
from NNMambaLib.volume_io import check_voxels

if TYPE_CHECKING:
    import slicer
    import vtk

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
# Of the voxels, below and above which the display is black and white.
_WINDOW_PERCENTILES = (0.5, 99.5)
_WINDOW_SAMPLES = 1_000_000
# Attributes of a result's node, after "NNMamba.", and the fields of `Provenance` that they hold.
_PROVENANCE = {
    "Model": "model",
    "ModelVersion": "model_version",
    "ModelLicence": "licence",
    "WeightsSHA256": "weights_sha256",
    "EngineVersion": "engine_version",
    "Device": "device",
    "ScanBackend": "scan_backend",
    "Options": "options",
    "Started": "started",
    "Seconds": "seconds",
    "Notices": "notices",
}
_AS_JSON = ("Options", "Seconds", "Notices")
# Of a fiducial list: what the model said of each landmark, so that a review can go back to it, and which were accepted.
PREDICTED_ATTRIBUTE = "NNMamba.Predicted"
ACCEPTED_ATTRIBUTE = "NNMamba.Accepted"


def volume_from_node(node: slicer.vtkMRMLVolumeNode, check: bool = True) -> Volume:
    """Return a volume node's voxels and geometry, in world space: parent transforms are applied.

    Linear transforms, also sheared ones, go into the matrix, and the array is a read-only view of the node's voxels,
    valid while they are neither edited nor replaced. A non-linear transform resamples a copy of them on the node's own
    lattice, as Slicer does when it hardens one. The node is never changed.

    Args:
        check: look at every voxel for what no model can use; the engine does so in any case.

    Raises:
        VolumeError: if the node has no voxels, is a single slice, cannot be resampled, or no model can use it.
    """
    name = node.GetName() or node.GetID() or "volume"
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise VolumeError(f"The volume {name} has no voxels: load or select another.")
    if 1 in image.GetDimensions():
        raise VolumeError(f"The volume {name} is a single slice, a 2-D image: give a 3-D volume.")
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        node, transform = _hardened(node, transform), None
        image = node.GetImageData()
    to_world = np.eye(4) if transform is None else _world_matrix(transform)
    volume = Volume(_voxels(image), _FLIP @ to_world @ _ijk_to_ras(node, image), name)
    if check:
        check_voxels(volume)
    return volume


def volumes_from_nodes(
    nodes: slicer.vtkMRMLVolumeNode | Sequence[slicer.vtkMRMLVolumeNode],
) -> tuple[slicer.vtkMRMLVolumeNode, list[Volume]]:
    """Return the first of one or several volume nodes, and the volume of each; see `volume_from_node`."""
    nodes = list(nodes) if isinstance(nodes, (list, tuple)) else [nodes]
    return nodes[0], [volume_from_node(node) for node in nodes]


def add_volume(scene: slicer.vtkMRMLScene, volume: Volume, name: str | None = None) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume of one channel, in grey, with the window between its 0.5th and 99.5th percentiles.

    Raises:
        VolumeError: if the volume has several channels.
    """
    import vtk

    if volume.channels != 1:
        raise VolumeError(f"{volume.name} has {volume.channels} channels: add each as a volume of its own.")
    with all_or_nothing(scene):
        node = new_node(scene, "vtkMRMLScalarVolumeNode", name or volume.name)
        node.SetIJKToRASMatrix(_vtk_matrix(_FLIP @ volume.matrix))
        node.SetAndObserveImageData(_filled(vtk.vtkImageData(), volume))
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
        sample = volume.array.ravel()[:: max(1, volume.array.size // _WINDOW_SAMPLES)]
        low, high = np.percentile(sample.astype(float), _WINDOW_PERCENTILES).tolist()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(low, high if high > low else low + 1)
    return node


def add_segmentation(
    scene: slicer.vtkMRMLScene,
    result: SegmentationResult,
    reference_node: slicer.vtkMRMLVolumeNode | None = None,
    name: str | None = None,
    closed_surface: bool = False,
) -> slicer.vtkMRMLSegmentationNode:
    """Add a segmentation: one segment a label, also for labels without voxels, all in one layer.

    Args:
        reference_node: the volume that was segmented; its geometry becomes the segmentation's reference geometry.
            Without it, the labels' own grid does.
        name: of the node; by default the reference's or the model's, with "segmentation".
        closed_surface: make the surfaces for 3-D views too.
    """
    with all_or_nothing(scene):
        name = name or result_name("segmentation", result.provenance, reference_node)
        node = _new_result_node(scene, "vtkMRMLSegmentationNode", name, result.provenance)
        node.CreateDefaultDisplayNodes()
        _fill_segmentation(node, result, reference_node)
        if closed_surface and not node.CreateClosedSurfaceRepresentation():
            raise RuntimeError("Slicer could not make the closed surfaces.")
    return node


@dataclass(frozen=True)
class SegmentationContent:
    """What a segmentation node held: its segments and what its attributes said of them."""

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
    return SegmentationContent(copy, {name: node.GetAttribute(name) for name in _attributes(provenance)})


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
    to_node = np.eye(4) if transform is None else np.linalg.inv(_world_matrix(transform))
    layer = _label_layer(result.labels, to_node)
    for identifier, label in zip(segment_ids(labels), labels, strict=True):
        if not segmentation.AddSegment(_segment(layer, label), identifier):
            raise RuntimeError(f"Slicer refused the segment {label.name}.")
    if reference_node is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference_node)
    else:
        _set_reference_geometry(segmentation, layer)


def add_landmarks(
    scene: slicer.vtkMRMLScene,
    result: LandmarksResult,
    reference_node: slicer.vtkMRMLVolumeNode | None = None,
    name: str | None = None,
) -> slicer.vtkMRMLMarkupsFiducialNode:
    """Add a fiducial list with every landmark of the model; those that were not found have an undefined position.

    A point's label is the landmark's name, its description the definition and the confidence, and its associated node
    the reference.
    """
    with all_or_nothing(scene):
        name = name or result_name("landmarks", result.provenance, reference_node)
        node = _new_result_node(scene, "vtkMRMLMarkupsFiducialNode", name, result.provenance)
        node.CreateDefaultDisplayNodes()
        _fill_landmarks(node, result, reference_node)
    return node


def replace_landmarks(
    node: slicer.vtkMRMLMarkupsFiducialNode,
    result: LandmarksResult,
    reference_node: slicer.vtkMRMLVolumeNode | None = None,
) -> None:
    """Put a result's landmarks into a fiducial list in place of its points; its parent transform stays."""
    scene = node.GetScene()
    scene.SaveStateForUndo()
    before = node.NewInstance()
    before.CopyContent(node)
    try:
        node.RemoveAllControlPoints()
        _fill_landmarks(node, result, reference_node)
        describe_node(node, result.provenance)
    except BaseException:
        node.CopyContent(before)
        raise


def _fill_landmarks(
    node: slicer.vtkMRMLMarkupsFiducialNode,
    result: LandmarksResult,
    reference_node: slicer.vtkMRMLVolumeNode | None,
) -> None:
    """Add a result's landmarks to a list without any, and keep beside them what was predicted."""
    predicted = []
    for landmark in result.landmarks:
        position = (_FLIP @ (*landmark.position, 1.0))[:3].tolist() if landmark.found else None
        index = node.AddControlPointWorld(position or [0.0, 0.0, 0.0], landmark.name)
        node.SetNthControlPointDescription(index, landmark_description(landmark))
        if reference_node is not None:
            node.SetNthControlPointAssociatedNodeID(index, reference_node.GetID())
        if not landmark.found:
            node.UnsetNthControlPointPosition(index)
        # In the list's own space: a transform that it is put under later moves what was predicted, too.
        own = list(node.GetNthControlPointPosition(index)) if landmark.found else None
        predicted.append({"name": landmark.name, "position": own, "confidence": landmark.confidence})
    node.SetAttribute(PREDICTED_ATTRIBUTE, json.dumps(predicted))
    node.RemoveAttribute(ACCEPTED_ATTRIBUTE)


@contextmanager
def all_or_nothing(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Make what the block adds one step for the scene; if the block fails, remove all of it."""
    import slicer

    before = set(_node_ids(scene))
    scene.SaveStateForUndo()
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    except BaseException:
        for node_id in reversed(_node_ids(scene)):
            # Removing a node may have removed others with it.
            if node_id not in before and (node := scene.GetNodeByID(node_id)) is not None:
                scene.RemoveNode(node)
        raise
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def _node_ids(scene: slicer.vtkMRMLScene) -> list[str]:
    return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]


def new_node(scene: slicer.vtkMRMLScene, class_name: str, name: str) -> slicer.vtkMRMLNode:
    """Add a node under a name that no other node has."""
    return scene.AddNewNodeByClass(class_name, scene.GenerateUniqueName(name))


def result_name(kind: str, provenance: Provenance, reference_node: slicer.vtkMRMLVolumeNode | None = None) -> str:
    """Return the name of a result's node: after the volume it is of, or else after the model."""
    return f"{reference_node.GetName() if reference_node else provenance.model} {kind}"


def _new_result_node(
    scene: slicer.vtkMRMLScene, class_name: str, name: str, provenance: Provenance
) -> slicer.vtkMRMLNode:
    """Return a new node that carries where its result comes from."""
    node = new_node(scene, class_name, name)
    describe_node(node, provenance)
    return node


def describe_node(node: slicer.vtkMRMLNode, provenance: Provenance) -> None:
    """Let a node carry where its result comes from; see `provenance_of`."""
    for name, value in _attributes(provenance).items():
        node.SetAttribute(name, value)


def _attributes(provenance: Provenance) -> dict[str, str]:
    values = {key: getattr(provenance, name) for key, name in _PROVENANCE.items()}
    attributes = {key: json.dumps(value, default=str) if key in _AS_JSON else value for key, value in values.items()}
    attributes["ResearchUse"] = RESEARCH_USE
    return {f"NNMamba.{key}": str(value) for key, value in attributes.items()}


def provenance_of(node: slicer.vtkMRMLNode) -> Provenance | None:
    """Return where a node's result comes from, None where it is no result."""
    values = {key: node.GetAttribute(f"NNMamba.{key}") for key in _PROVENANCE}
    if None in values.values():
        return None
    return Provenance(
        **{name: values[key] for key, name in _PROVENANCE.items() if key not in _AS_JSON},
        **{_PROVENANCE[key]: json.loads(values[key]) for key in _AS_JSON if key != "Notices"},
        notices=tuple(json.loads(values["Notices"])),
    )


def _voxels(image: vtk.vtkImageData) -> np.ndarray:
    """Return a read-only view (channel, z, y, x) of an image's scalars."""
    from vtk.util.numpy_support import vtk_to_numpy

    values = vtk_to_numpy(image.GetPointData().GetScalars())
    array = np.moveaxis(values.reshape(*image.GetDimensions()[::-1], -1), -1, 0)
    array.flags.writeable = False
    return array


def _filled(image: vtk.vtkImageData, volume: Volume) -> vtk.vtkImageData:
    """Return the image with a copy of a volume's only channel as its scalars."""
    from vtk.util.numpy_support import numpy_to_vtk

    depth, height, width = volume.grid.shape
    image.SetExtent(0, width - 1, 0, height - 1, 0, depth - 1)
    values = np.ascontiguousarray(volume.array[0])
    if values.dtype in (np.bool_, np.float16):
        values = values.astype(np.uint8 if values.dtype == np.bool_ else np.float32)
    scalars = numpy_to_vtk(values.ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image


def _label_layer(labels: Volume, to_node: np.ndarray) -> slicer.vtkOrientedImageData:
    """Return labels as a segment's image; `to_node` takes world positions (RAS) to the node's own."""
    import slicer

    layer = _filled(slicer.vtkOrientedImageData(), labels)
    layer.SetImageToWorldMatrix(_vtk_matrix(to_node @ _FLIP @ labels.matrix))
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


def _hardened(node: slicer.vtkMRMLVolumeNode, transform: slicer.vtkMRMLTransformNode) -> slicer.vtkMRMLVolumeNode:
    """Return a copy of a volume node, in no scene, with a non-linear parent transform applied to its voxels.

    Raises:
        VolumeError: if the transform moves the volume's centre off its lattice, so that little of it would be left.
    """
    import vtk

    to_world = vtk.vtkGeneralTransform()
    transform.GetTransformToWorld(to_world)
    image = node.GetImageData()
    ijk_to_ras, last = _ijk_to_ras(node, image), np.array(image.GetDimensions()) - 1
    centre = ijk_to_ras @ (*(last / 2), 1)
    moved = np.linalg.solve(ijk_to_ras, (*to_world.TransformPoint(centre[:3].tolist()), 1))[:3]
    if np.any(moved < 0) or np.any(moved > last):
        raise VolumeError(
            f"The non-linear transform {transform.GetName()} moves the volume {node.GetName()} off its own lattice: "
            "resample the volume with it, and select what comes out."
        )
    copy = node.NewInstance()
    copy.CopyContent(node)
    copy.ApplyNonLinearTransform(to_world)
    return copy


def _world_matrix(transform: slicer.vtkMRMLTransformNode) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return _array(matrix)


def _ijk_to_ras(node: slicer.vtkMRMLVolumeNode, image: vtk.vtkImageData) -> np.ndarray:
    """Return the matrix from the array's indices, which start at 0 also where the image's extent does not."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    start = np.eye(4)
    start[:3, 3] = image.GetExtent()[::2]
    return _array(matrix) @ start


def _array(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _vtk_matrix(array: np.ndarray) -> vtk.vtkMatrix4x4:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix
