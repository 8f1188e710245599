"""The review of the landmarks of a fiducial list: which were predicted, moved and accepted.

The review is kept in the list's attributes, so it is saved and loaded with the scene. Positions are RAS in mm: in the
list's own space in the attributes, in world space elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.files import write_table
from NNMambaLib.results import RESEARCH_USE
from NNMambaLib.scene.landmarks import ACCEPTED_ATTRIBUTE, PREDICTED_ATTRIBUTE

if TYPE_CHECKING:
    import slicer

# A point this close to its predicted position, in mm, was not moved.
_UNMOVED = 1e-3


class ReviewState(Enum):
    PREDICTED = "predicted"
    NOT_FOUND = "not found"
    MOVED = "moved"
    PLACED = "placed by hand"
    REMOVED = "removed"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class ReviewedLandmark:
    """A landmark in its present state.

    Attributes:
        confidence: of the prediction, 0..1.
        position: present position, world RAS in mm; None where it is undefined.
        predicted: position that the model found, world RAS in mm; None where it found none.
    """

    name: str
    confidence: float
    state: ReviewState
    position: tuple[float, float, float] | None
    predicted: tuple[float, float, float] | None


def is_reviewable(node: slicer.vtkMRMLMarkupsNode | None) -> bool:
    """Return whether a node is a list of landmarks from a model."""
    return node is not None and node.GetAttribute(PREDICTED_ATTRIBUTE) is not None


def reviewed_landmarks(node: slicer.vtkMRMLMarkupsNode) -> list[ReviewedLandmark]:
    """Return the landmarks of a list in the model's order."""
    accepted = _accepted(node)
    landmarks = []
    for entry in json.loads(node.GetAttribute(PREDICTED_ATTRIBUTE)):
        name, predicted = entry["name"], entry["position"]
        position = _position(node, control_point(node, name))
        state = ReviewState.ACCEPTED if name in accepted else _state(position, predicted)
        position, predicted = _to_world(node, position), _to_world(node, predicted)
        landmarks.append(ReviewedLandmark(name, entry["confidence"], state, position, predicted))
    return landmarks


def control_point(node: slicer.vtkMRMLMarkupsNode, name: str) -> int:
    """Return the index of a landmark's control point, -1 where it was deleted."""
    return node.GetControlPointIndexByLabel(name)


def accept(node: slicer.vtkMRMLMarkupsNode, name: str) -> None:
    """Accept a landmark at its present position and lock its point; once moved, it must be accepted again."""
    position = _position(node, control_point(node, name))
    _keep_accepted(node, {**_accepted(node), name: position})
    node.SetNthControlPointLocked(control_point(node, name), True)


def reset(node: slicer.vtkMRMLMarkupsNode, name: str) -> None:
    """Put a landmark back where the model found it, or make it undefined; a deleted point is added again."""
    (predicted,) = (landmark.predicted for landmark in reviewed_landmarks(node) if landmark.name == name)
    _keep_accepted(node, {key: value for key, value in _accepted(node).items() if key != name})
    index = control_point(node, name)
    if index < 0:
        index = node.AddControlPointWorld(predicted or [0.0, 0.0, 0.0], name)
    node.SetNthControlPointLocked(index, False)
    if predicted is None:
        node.UnsetNthControlPointPosition(index)
    else:
        node.SetNthControlPointPositionWorld(index, predicted)


def write_review(node: slicer.vtkMRMLMarkupsNode, path: str | Path) -> None:
    """Write the landmarks of a list as a table (.csv), completely or not at all.

    Raises:
        OutputError: if the file cannot be written.
    """
    axes = ("R", "A", "S")
    head = ["landmark", "confidence", "state", *(f"{axis} mm" for axis in axes), *(f"predicted {a} mm" for a in axes)]
    rows: list[list] = [head]
    for landmark in reviewed_landmarks(node):
        positions = [landmark.position or ("",) * 3, landmark.predicted or ("",) * 3]
        numbers = [value if value == "" else f"{value:.4f}" for position in positions for value in position]
        rows.append([landmark.name, f"{landmark.confidence:.4f}", landmark.state.value, *numbers])
    rows.append([f"{node.GetName()}: {node.GetAttribute('NNMamba.Model')}. {RESEARCH_USE}"])
    write_table(rows, path)


def _state(position: tuple[float, ...] | None, predicted: list[float] | None) -> ReviewState:
    if position is None:
        return ReviewState.NOT_FOUND if predicted is None else ReviewState.REMOVED
    if predicted is None:
        return ReviewState.PLACED
    return ReviewState.PREDICTED if _near(position, predicted) else ReviewState.MOVED


def _position(node: slicer.vtkMRMLMarkupsNode, index: int) -> tuple[float, float, float] | None:
    if index < 0 or node.GetNthControlPointPositionStatus(index) != node.PositionDefined:
        return None
    x, y, z = node.GetNthControlPointPosition(index)
    return x, y, z


def _to_world(node: slicer.vtkMRMLMarkupsNode, position) -> tuple[float, float, float] | None:
    if position is None:
        return None
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(list(position), world)
    x, y, z = world
    return x, y, z


def _accepted(node: slicer.vtkMRMLMarkupsNode) -> dict[str, tuple[float, float, float] | None]:
    """Return the landmarks that were accepted and have not been moved since."""
    accepted = json.loads(node.GetAttribute(ACCEPTED_ATTRIBUTE) or "{}")
    return {name: where for name, where in accepted.items() if _same(_position(node, control_point(node, name)), where)}


def _keep_accepted(node: slicer.vtkMRMLMarkupsNode, accepted: dict) -> None:
    node.SetAttribute(ACCEPTED_ATTRIBUTE, json.dumps(accepted))


def _same(one, other) -> bool:
    if one is None or other is None:
        return one is other
    return _near(one, other)


def _near(one, other) -> bool:
    return float(np.linalg.norm(np.subtract(one, other))) <= _UNMOVED
