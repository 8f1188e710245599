"""Converts matrices and voxels between VTK and numpy. Positions are RAS in MRML and LPS in the rest of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.volumes.volume import Volume

if TYPE_CHECKING:
    import slicer
    import vtk


def filled_image(image: vtk.vtkImageData, volume: Volume) -> vtk.vtkImageData:
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


def world_matrix(transform: slicer.vtkMRMLTransformNode) -> np.ndarray:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return to_array(matrix)


def ijk_to_ras(node: slicer.vtkMRMLVolumeNode, image: vtk.vtkImageData) -> np.ndarray:
    """Return the matrix from array indices, which start at 0 even where the image's extent does not, to RAS in mm."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    start = np.eye(4)
    start[:3, 3] = image.GetExtent()[::2]
    return to_array(matrix) @ start


def to_array(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def vtk_matrix(array: np.ndarray) -> vtk.vtkMatrix4x4:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix
