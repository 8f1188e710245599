"""Volumes out of a MRML scene, and results into it.

A volume's parent transforms are applied before the engine gets it, so results are in world space: the nodes added here
have no parent transform and lie where the voxels are seen, also where the input volume has one.
"""

from NNMambaLib.scene.landmarks import add_landmarks, put_landmarks, replace_landmarks
from NNMambaLib.scene.nodes import all_or_nothing, new_node, result_name
from NNMambaLib.scene.provenance import describe_node, provenance_of
from NNMambaLib.scene.segmentations import (
    SegmentationContent,
    add_segmentation,
    put_segmentation,
    replace_segmentation,
    restore_segmentation,
)
from NNMambaLib.scene.volumes import add_volume, volume_from_node

__all__ = [
    "SegmentationContent",
    "add_landmarks",
    "add_segmentation",
    "add_volume",
    "all_or_nothing",
    "describe_node",
    "new_node",
    "provenance_of",
    "put_landmarks",
    "put_segmentation",
    "replace_landmarks",
    "replace_segmentation",
    "restore_segmentation",
    "result_name",
    "volume_from_node",
]
