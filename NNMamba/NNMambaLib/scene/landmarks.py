"""Landmarks into a MRML scene: new fiducial lists, and in place of the points that a list holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from NNMambaLib.export.markups_file import landmark_description
from NNMambaLib.results import LandmarksResult
from NNMambaLib.scene.nodes import all_or_nothing, new_result_node, result_name
from NNMambaLib.scene.provenance import describe_node
from NNMambaLib.volumes.volume import LPS_TO_RAS

if TYPE_CHECKING:
    import slicer


# Of a fiducial list: what the model said of each landmark, so that a review can go back to it, and which were accepted.
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


def _fill_landmarks(
    node: slicer.vtkMRMLMarkupsFiducialNode,
    result: LandmarksResult,
    reference_node: slicer.vtkMRMLVolumeNode | None,
) -> None:
    """Add a result's landmarks to a list without any, and keep beside them what was predicted."""
    predicted = []
    for landmark in result.landmarks:
        position = (LPS_TO_RAS @ (*landmark.position, 1.0))[:3].tolist() if landmark.found else None
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
