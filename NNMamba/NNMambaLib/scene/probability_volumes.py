"""The probabilities and the uncertainty of a segmentation as volumes of a MRML scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.results import SegmentationResult
from NNMambaLib.scene.nodes import all_or_nothing, result_name
from NNMambaLib.scene.provenance import describe_node
from NNMambaLib.scene.volumes import add_volume
from NNMambaLib.volumes.volume import Volume

if TYPE_CHECKING:
    import slicer


def add_probability_volumes(
    scene: slicer.vtkMRMLScene,
    result: SegmentationResult,
    reference_node: slicer.vtkMRMLVolumeNode | None = None,
) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """Add the uncertainty, and the probability of each label but the background, where the result has them.

    Args:
        reference_node: the volume that was segmented, after which the nodes are named.
    """
    nodes = []
    with all_or_nothing(scene):
        for kind, volume in _volumes(result):
            node = add_volume(scene, volume, result_name(kind, result.provenance, reference_node))
            describe_node(node, result.provenance)
            nodes.append(node)
    return nodes


def _volumes(result: SegmentationResult):
    if result.uncertainty is not None:
        yield "uncertainty", result.uncertainty
    probabilities = result.probabilities
    if probabilities is not None:
        for label in result.label_definitions:
            array = probabilities.array[[label.value]].astype(np.float32)
            yield f"probability of {label.name}", Volume(array, probabilities.matrix, probabilities.name)
