"""What a node must hold, asked of Slicer's own classes."""

import numpy as np


def oblique_matrix():
    """Return a grid to LPS that is oblique in all planes, flipped along z (left-handed) and anisotropic."""
    x, y, z = 0.3, -0.5, 0.8
    turn_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    turn_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    turn_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(turn_x) @ turn_y @ turn_z @ np.diag([0.7, 1.3, -2.9])
    matrix[:3, 3] = [-31.5, 47.25, 112.125]
    return matrix


def array_of(matrix):
    """Return a vtkMatrix4x4 as an array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def vtk_matrix(array):
    """Return an array as a vtkMatrix4x4."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix


def segment_voxels(node, identifier):
    """Return a segment's mask on its layer: LPS positions (n, 3) in mm of its voxels, in the order x, y, z fastest."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    layer = node.GetBinaryLabelmapInternalRepresentation(identifier)
    value = node.GetSegmentation().GetSegment(identifier).GetLabelValue()
    extent = layer.GetExtent()
    shape = [extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1]
    mask = vtk_to_numpy(layer.GetPointData().GetScalars()).reshape(shape) == value
    indices = np.argwhere(mask)[:, ::-1] + extent[::2]
    to_world = vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(to_world)
    ras = indices @ array_of(to_world)[:3, :3].T + array_of(to_world)[:3, 3]
    return ras * [-1, -1, 1]


def check_segmentation(node, result, tolerance):
    """Check names, colours, terminology, the single layer and every voxel's position of a segmentation node."""
    import slicer

    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfLayers() == 1
    assert list(segmentation.GetSegmentIDs()) == ["white_matter", "corce_left_right", "left_thalamus"]
    for identifier, label in zip(segmentation.GetSegmentIDs(), result.label_definitions, strict=True):
        segment = segmentation.GetSegment(identifier)
        assert segment.GetName() == label.name
        assert segment.GetLabelValue() == label.value
        np.testing.assert_allclose(segment.GetColor(), np.array(label.color) / 255, atol=1e-5)
        check_terminology(segment, label, slicer)
        expected = result.labels.grid.to_physical(np.argwhere(result.labels.array[0] == label.value)[:, ::-1])
        np.testing.assert_allclose(segment_voxels(node, identifier), expected, atol=tolerance)


def check_terminology(segment, label, slicer):
    if label.terminology is None:
        assert segment.GetTerminology() == slicer.vtkSegment().GetTerminology()
        return
    entry = slicer.vtkSlicerTerminologyEntry()
    assert slicer.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(segment.GetTerminology(), entry)
    assert entry.GetTerminologyContextName() == "Segmentation category and type - DICOM master list"
    expected = (label.terminology.category, label.terminology.type, label.terminology.modifier)
    objects = (entry.GetCategoryObject(), entry.GetTypeObject(), entry.GetTypeModifierObject())
    for code, part in zip(expected, objects, strict=True):
        assert (part.GetCodingSchemeDesignator() or "") == (code.scheme if code else "")
        assert (part.GetCodeValue() or "") == (code.value if code else "")
        assert (part.GetCodeMeaning() or "") == (code.meaning if code else "")


def check_landmarks(node, result, tolerance):
    """Check labels, descriptions, positions and undefined positions of a fiducial node."""
    assert node.GetNumberOfControlPoints() == len(result.landmarks)
    for index, landmark in enumerate(result.landmarks):
        assert node.GetNthControlPointLabel(index) == landmark.name
        description = node.GetNthControlPointDescription(index)
        assert landmark.definition in description
        assert f"{landmark.confidence:.2f}" in description
        if landmark.found:
            assert node.GetNthControlPointPositionStatus(index) == node.PositionDefined
            lps = np.array(node.GetNthControlPointPositionWorld(index)) * [-1, -1, 1]
            np.testing.assert_allclose(lps, landmark.position, atol=tolerance)
        else:
            assert node.GetNthControlPointPositionStatus(index) == node.PositionUndefined
            assert "not found" in description
