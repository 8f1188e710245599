"""Volume nodes become volumes whose voxels lie where Slicer shows them."""

import numpy as np
import pytest

from helpers.scene_checks import array_of, oblique_matrix, vtk_matrix
from NNMambaLib.errors import VolumeError
from NNMambaLib.scene.volumes import add_volume, volume_from_node
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("slicer", reason="slicer-core is not installed")

ROTATED = np.array([[0.8, -0.6, 0, 12.5], [0.6, 0.8, 0, -7.25], [0, 0, 1, 33], [0, 0, 0, 1]])
SHEARED = np.array([[1.1, 0.2, 0, 3], [0, 0.9, -0.3, 4], [0.05, 0, -1.2, 5], [0, 0, 0, 1]])


def add_transform(scene, matrix, parent=None):
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(vtk_matrix(matrix))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def shown_at(node, indices):
    """Return the LPS positions where Slicer has voxels (x, y, z), its transforms applied by Slicer."""
    import vtk

    ijk_to_ras, to_world = vtk.vtkMatrix4x4(), vtk.vtkGeneralTransform()
    node.GetIJKToRASMatrix(ijk_to_ras)
    if node.GetParentTransformNode():
        node.GetParentTransformNode().GetTransformToWorld(to_world)
    ras = [to_world.TransformPoint(ijk_to_ras.MultiplyPoint((*map(float, index), 1))[:3]) for index in indices]
    return np.array(ras) * [-1, -1, 1]


@pytest.mark.parametrize("chain", [[], [ROTATED], [SHEARED], [SHEARED, ROTATED]], ids=["none", "rigid", "shear", "two"])
def test_voxels_lie_where_slicer_shows_them(scene, volume, chain):
    node = add_volume(scene, volume, "head")
    parent = None
    for matrix in chain:
        parent = add_transform(scene, matrix, parent)
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())

    read = volume_from_node(node)

    np.testing.assert_array_equal(read.array, volume.array)
    indices = np.argwhere(read.array[0])[:, ::-1]
    np.testing.assert_allclose(read.grid.to_physical(indices), shown_at(node, indices), atol=1e-6)
    if not chain:
        np.testing.assert_allclose(read.matrix, volume.matrix, atol=1e-9)


def test_the_node_is_left_alone_and_its_voxels_are_not_copied(scene, volume):
    node = add_volume(scene, volume)
    transform = add_transform(scene, ROTATED)
    node.SetAndObserveTransformNodeID(transform.GetID())
    before = node.GetMTime(), node.GetImageData().GetMTime(), scene.GetNumberOfNodes()

    read = volume_from_node(node)

    assert (node.GetMTime(), node.GetImageData().GetMTime(), scene.GetNumberOfNodes()) == before
    assert not read.array.flags.writeable
    assert np.shares_memory(read.array, volume_from_node(node).array)


def test_components_become_channels(scene, volume):
    from vtk.util.numpy_support import numpy_to_vtk

    node = add_volume(scene, volume)
    colors = np.stack([volume.array[0].ravel(), volume.array[0].ravel() * 2, volume.array[0].ravel() + 5], axis=1)
    node.GetImageData().GetPointData().SetScalars(numpy_to_vtk(colors, deep=True))

    read = volume_from_node(node)

    assert read.channels == 3
    np.testing.assert_array_equal(read.array, [volume.array[0], volume.array[0] * 2, volume.array[0] + 5])


def test_an_extent_that_does_not_start_at_zero_moves_no_voxel(scene, volume):
    node = add_volume(scene, volume)
    depth, height, width = volume.grid.shape
    node.GetImageData().SetExtent(3, 2 + width, -4, height - 5, 7, 6 + depth)

    read = volume_from_node(node)

    indices = np.argwhere(read.array[0])[:, ::-1]
    np.testing.assert_allclose(
        read.grid.to_physical(indices), shown_at(node, indices + np.array([3, -4, 7])), atol=1e-6
    )


def warp(scene, node, shift):
    """Put a node under a smooth warp that moves its middle by about `shift` in RAS mm and its corners less."""
    import vtk

    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    corners = np.array(np.meshgrid(bounds[:2], bounds[2:4], bounds[4:])).reshape(3, -1).T
    sources = np.vstack([corners, corners.mean(0)])
    moves = np.vstack([np.outer(np.arange(8) % 3 / 4, shift), shift])
    points = [vtk.vtkPoints(), vtk.vtkPoints()]
    for source, move in zip(sources, moves, strict=True):
        points[0].InsertNextPoint(*source)
        points[1].InsertNextPoint(*(source + move))
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    spline.SetSourceLandmarks(points[0])
    spline.SetTargetLandmarks(points[1])
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())


def centroid(volume):
    weights = volume.array[0].astype(float)
    indices = np.argwhere(weights > 0)[:, ::-1]
    return (volume.grid.to_physical(indices) * weights[weights > 0][:, None]).sum(0) / weights[weights > 0].sum()


def test_a_non_linear_transform_moves_the_voxels(scene):
    array = np.zeros((1, 30, 32, 34), np.float32)
    array[0, 12:17, 13:19, 14:20] = 100
    matrix = oblique_matrix()
    node = add_volume(scene, Volume(array, matrix))
    unmoved = centroid(volume_from_node(node))
    warp(scene, node, np.array([3.0, -2.0, 4.0]))

    read = volume_from_node(node)

    np.testing.assert_allclose(read.matrix, matrix, atol=1e-9)
    expected = node.GetParentTransformNode().GetTransformToParent().TransformPoint(unmoved * [-1, -1, 1])
    np.testing.assert_allclose(centroid(read), np.array(expected) * [-1, -1, 1], atol=0.5)
    assert np.linalg.norm(centroid(read) - unmoved) > 3
    assert np.shares_memory(volume_from_node(node).array, array) is False
    assert node.GetParentTransformNode().GetName() == "warp"


def test_a_warp_off_the_lattice_is_refused(scene, volume):
    node = add_volume(scene, volume, "head")
    warp(scene, node, np.array([500.0, 0.0, 0.0]))
    with pytest.raises(VolumeError, match="warp moves the volume head off its own lattice: resample"):
        volume_from_node(node)


def test_voxels_outlive_the_scene(volume):
    from NNMambaLib.scene.headless import headless_scene

    with headless_scene() as scene:
        read = volume_from_node(add_volume(scene, volume))
    np.testing.assert_array_equal(read.array, volume.array)


def test_what_no_model_can_use_is_refused(scene, volume):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(VolumeError, match="nothing has no voxels"):
        volume_from_node(empty)
    flat = add_volume(scene, Volume(volume.array[:, :1], volume.matrix), "flat")
    with pytest.raises(VolumeError, match="flat is a single slice"):
        volume_from_node(flat)
    holes = add_volume(scene, Volume(np.where(volume.array, np.nan, 1.0), volume.matrix), "holes")
    with pytest.raises(VolumeError, match=r"holes holds \d+ voxels that are NaN"):
        volume_from_node(holes)


def test_an_added_volume_has_a_sensible_window(scene, volume):
    rng = np.random.default_rng(3)
    voxels = rng.normal(100, 20, volume.array.shape).astype(np.float32)
    voxels[0, 0, 0, 0] = 1e5
    node = add_volume(scene, Volume(voxels, volume.matrix), "head")

    display = node.GetDisplayNode()
    assert 20 < display.GetWindowLevelMin() < 70
    assert 130 < display.GetWindowLevelMax() < 300
    assert display.GetColorNode().GetName() == "Grey"
    assert node.GetParentTransformNode() is None


@pytest.mark.parametrize(
    "kind", [np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float32, np.float64, np.bool_]
)
def test_every_type_survives(scene, kind):
    values = np.arange(24).reshape(1, 2, 3, 4) % (2 if kind == np.bool_ else 24)
    node = add_volume(scene, Volume(values.astype(kind), oblique_matrix()))
    np.testing.assert_array_equal(volume_from_node(node).array, values)


def test_several_channels_are_no_scalar_volume(scene, volume):
    with pytest.raises(VolumeError, match="head has 2 channels"):
        add_volume(scene, Volume(np.repeat(volume.array, 2, axis=0), volume.matrix, "head"))
    assert scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is None


def test_a_sheared_grid_survives(scene, volume):
    matrix = oblique_matrix() @ np.array([[1, 0.3, 0, 0], [0, 1, 0.1, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    node = add_volume(scene, Volume(volume.array, matrix))
    np.testing.assert_allclose(volume_from_node(node).matrix, matrix, atol=1e-9)
    assert array_of(vtk_matrix(matrix)).tolist() == matrix.tolist()
