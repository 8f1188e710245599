"""The explanation of a classification as a volume of a MRML scene, in colours of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.export.explanation_picture import AGAINST_COLOR, FOR_COLOR, color_limit
from NNMambaLib.results import Explanation, Provenance
from NNMambaLib.scene.nodes import new_node, result_name
from NNMambaLib.scene.provenance import describe_node
from NNMambaLib.scene.volumes import add_volume, volume_from_node

if TYPE_CHECKING:
    import slicer

# Attributes of the volume.
TARGET_ATTRIBUTE = "NNMamba.Target"
PREDICTED_ATTRIBUTE = "NNMamba.PredictedClass"

_COLORS_ATTRIBUTE = "NNMamba.Colors"
_COLOR_COUNT = 255
# Fraction of the full colour below which voxels are transparent.
_LEAST_SHOWN = 0.2


def add_explanation(
    scene: slicer.vtkMRMLScene,
    explanation: Explanation,
    provenance: Provenance,
    reference_node: slicer.vtkMRMLVolumeNode | None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume that shows in orange what speaks for the predicted class, and in blue what speaks against it."""
    volume = add_volume(scene, explanation.volume, result_name("explanation", provenance, reference_node))
    describe_node(volume, provenance)
    volume.SetAttribute(TARGET_ATTRIBUTE, explanation.target)
    volume.SetAttribute(PREDICTED_ATTRIBUTE, explanation.predicted)
    display, limit = volume.GetDisplayNode(), color_limit(explanation)
    display.SetAndObserveColorNodeID(_color_node(scene).GetID())
    display.SetWindowLevelMinMax(-limit, limit)
    return volume


def _color_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """Return the scene's colours of explanations, transparent around 0, where a region hardly matters."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if node.GetAttribute(_COLORS_ATTRIBUTE) is not None:
            return node
    node = new_node(scene, "vtkMRMLColorTableNode", "NNMamba explanation")
    node.SetAttribute(_COLORS_ATTRIBUTE, "explanation")
    node.SetTypeToUser()
    node.SetNumberOfColors(_COLOR_COUNT)
    # Slicer's slice views treat any opacity above 0 as 1, so weak colours are dark instead.
    for index, part in enumerate(np.linspace(-1, 1, _COLOR_COUNT).tolist()):
        color = np.array(FOR_COLOR if part > 0 else AGAINST_COLOR) * abs(part)
        node.SetColor(index, f"{part:+.2f}", *color.tolist(), float(abs(part) >= _LEAST_SHOWN))
    return node


def explanation_of(node: slicer.vtkMRMLScalarVolumeNode | None) -> Explanation | None:
    """Return the explanation that a volume holds, as a view of its voxels; None where there is none."""
    if node is None or node.GetImageData() is None:
        return None
    target, predicted = node.GetAttribute(TARGET_ATTRIBUTE), node.GetAttribute(PREDICTED_ATTRIBUTE)
    return Explanation(target or "", predicted or "", volume_from_node(node, check=False))
