"""Landmarks as fiducial lists of a MRML scene: new lists, or in place of the points that a list holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from NNMambaLib.export.markups_file import landmark_description
from NNMambaLib.results import LandmarksResult
from NNMambaLib.scene.nodes import add_or_replace, all_or_nothing, new_result_node, result_name
from NNMambaLib.scene.provenance import describe_node
from NNMambaLib.volumes.volume import LPS_TO_RAS

if TYPE_CHECKING:
    import slicer


# Attributes of a fiducial list: the predicted landmarks, to which a review can return, and those that were accepted.
PREDICTED_ATTRIBUTE = "NNMamba.Predicted"
ACCEPTED_ATTRIBUTE = "NNMamba.Accepted"


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
        node = new_result_node(scene, "vtkMRMLMarkupsFiducialNode", name, result.provenance)
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


def put_landmarks(
    result: LandmarksResult,
    reference_node: slicer.vtkMRMLVolumeNode,
    output: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    name: str | None = None,
) -> slicer.vtkMRMLMarkupsFiducialNode:
    """Put a result into the scene of the volume it is of, and return its fiducial list.

    Args:
        output: the list whose points are replaced; None, or one that was removed, adds a list.
        name: of a new list; see `add_landmarks`.
    """
    return add_or_replace(add_landmarks, replace_landmarks, result, reference_node, output, name)


def _fill_landmarks(
    node: slicer.vtkMRMLMarkupsFiducialNode,
    result: LandmarksResult,
    reference_node: slicer.vtkMRMLVolumeNode | None,
) -> None:
    """Add a result's landmarks to an empty list, and keep what was predicted in its attributes."""
    predicted = []
    for landmark in result.landmarks:
        position = None if landmark.position is None else (LPS_TO_RAS @ (*landmark.position, 1.0))[:3].tolist()
        index = node.AddControlPointWorld(position or [0.0, 0.0, 0.0], landmark.name)
        node.SetNthControlPointDescription(index, landmark_description(landmark))
        if reference_node is not None:
            node.SetNthControlPointAssociatedNodeID(index, reference_node.GetID())
        if not landmark.found:
            node.UnsetNthControlPointPosition(index)
        # In the list's own space, so that a transform of the list moves its predictions too.
        own = list(node.GetNthControlPointPosition(index)) if landmark.found else None
        predicted.append({"name": landmark.name, "position": own, "confidence": landmark.confidence})
    node.SetAttribute(PREDICTED_ATTRIBUTE, json.dumps(predicted))
    node.RemoveAttribute(ACCEPTED_ATTRIBUTE)
