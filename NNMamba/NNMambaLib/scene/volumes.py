"""Volumes out of a MRML scene, in world space and LPS, and into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.export.slices import window
from NNMambaLib.scene.geometry import filled_image, ijk_to_ras, vtk_matrix, world_matrix
from NNMambaLib.scene.nodes import all_or_nothing, new_node
from NNMambaLib.volumes.checks import check_voxels
from NNMambaLib.volumes.volume import LPS_TO_RAS, Volume

if TYPE_CHECKING:
    import slicer
    import vtk


def volume_from_node(node: slicer.vtkMRMLVolumeNode, check: bool = True) -> Volume:
    """Return a volume node's voxels and geometry, in world space: parent transforms are applied.

    Linear transforms, also sheared ones, go into the matrix, and the array is a read-only view of the node's voxels,
    valid while they are neither edited nor replaced. A non-linear transform resamples a copy of them on the node's own
    lattice, as Slicer does when it hardens one. The node is never changed.

    Args:
        check: look at every voxel for values that no model can use; the engine does so in any case.

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
    to_world = np.eye(4) if transform is None else world_matrix(transform)
    volume = Volume(_voxels(image), LPS_TO_RAS @ to_world @ ijk_to_ras(node, image), name)
    if check:
        check_voxels(volume)
    return volume


def add_volume(scene: slicer.vtkMRMLScene, volume: Volume, name: str | None = None) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume of one channel, in grey, with the `window` that every flat picture has.

    Raises:
        VolumeError: if the volume has several channels.
    """
    import vtk

    if volume.channels != 1:
        raise VolumeError(f"{volume.name} has {volume.channels} channels: add each as a volume of its own.")
    with all_or_nothing(scene):
        node = new_node(scene, "vtkMRMLScalarVolumeNode", name or volume.name)
        node.SetIJKToRASMatrix(vtk_matrix(LPS_TO_RAS @ volume.matrix))
        node.SetAndObserveImageData(filled_image(vtk.vtkImageData(), volume))
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*window(volume.array))
    return node


def _voxels(image: vtk.vtkImageData) -> np.ndarray:
    """Return a read-only view (channel, z, y, x) of an image's scalars."""
    from vtk.util.numpy_support import vtk_to_numpy

    values = vtk_to_numpy(image.GetPointData().GetScalars())
    array = np.moveaxis(values.reshape(*image.GetDimensions()[::-1], -1), -1, 0)
    array.flags.writeable = False
    return array


def _hardened(node: slicer.vtkMRMLVolumeNode, transform: slicer.vtkMRMLTransformNode) -> slicer.vtkMRMLVolumeNode:
    """Return a copy of a volume node, in no scene, with a non-linear parent transform applied to its voxels.

    Raises:
        VolumeError: if the transform moves the volume's centre off its lattice, so that little of it would be left.
    """
    import vtk

    to_world = vtk.vtkGeneralTransform()
    transform.GetTransformToWorld(to_world)
    image = node.GetImageData()
    lattice, last = ijk_to_ras(node, image), np.array(image.GetDimensions()) - 1
    center = lattice @ (*(last / 2), 1)
    moved = np.linalg.solve(lattice, (*to_world.TransformPoint(center[:3].tolist()), 1))[:3]
    if np.any(moved < 0) or np.any(moved > last):
        raise VolumeError(
            f"The non-linear transform {transform.GetName()} moves the volume {node.GetName()} off its own lattice: "
            "resample the volume with it, and select what comes out."
        )
    copy = node.NewInstance()
    copy.CopyContent(node)
    copy.ApplyNonLinearTransform(to_world)
    return copy
