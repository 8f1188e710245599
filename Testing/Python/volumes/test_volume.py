"""Volumes: where voxels lie, and how they move between grids."""

import numpy as np
import pytest

from helpers.phantoms import CENTER, ORIENTATIONS, grid_matrix, oblique_rotation, sample, voxel_positions
from NNMambaLib.volumes.resampling import rectangular_grid, regular_grid, resample
from NNMambaLib.volumes.volume import Grid, Volume, reoriented_grid

_SHAPE = (5, 7, 6)
_SPACING = (0.8, 1.5, 2.5)
_MATRICES = {
    "straight": grid_matrix("LPS", _SPACING, _SHAPE),
    "oblique": grid_matrix("PIR", _SPACING, _SHAPE, rotation=oblique_rotation(20)),
    "sheared": grid_matrix("RAS", _SPACING, _SHAPE, shear=0.3),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_names_the_direction_of_rising_index(orientation):
    assert Grid(_SHAPE, grid_matrix(orientation, _SPACING, _SHAPE)).orientation == orientation


@pytest.mark.parametrize("matrix", _MATRICES.values(), ids=_MATRICES)
def test_reorientation_moves_no_voxel(matrix):
    # Every voxel holds its own position, so that one which is moved gives itself away.
    volume = Volume(np.moveaxis(voxel_positions(_SHAPE, matrix), -1, 0), matrix)
    for orientation in ORIENTATIONS:
        turned = volume.reoriented(orientation)
        held = np.moveaxis(turned.array, 0, -1)
        assert turned.grid.orientation == orientation
        assert turned.grid.matches(reoriented_grid(volume.grid, orientation))
        assert held == pytest.approx(voxel_positions(turned.array.shape[1:], turned.matrix))
        back = turned.reoriented(volume.grid.orientation)
        assert np.array_equal(back.array, volume.array)
        assert back.matrix == pytest.approx(matrix)


@pytest.mark.parametrize("orientation", ["RAA", "LP", "LPSR", "XYZ", "las", ""])
def test_what_is_not_an_orientation_is_refused(orientation):
    with pytest.raises(ValueError, match="is not an orientation"):
        Volume(np.zeros((1, *_SHAPE)), np.eye(4)).reoriented(orientation)


def test_volume_needs_a_channel_axis():
    with pytest.raises(ValueError, match=r"\(channel, z, y, x\)"):
        Volume(np.zeros(_SHAPE), np.eye(4))


def test_grid_knows_its_spacing_and_voxel_volume():
    sheared = Grid(_SHAPE, _MATRICES["sheared"])
    assert Grid(_SHAPE, _MATRICES["oblique"]).spacing == pytest.approx(_SPACING)
    # Shear lengthens the sheared axis and leaves the volume as it is.
    assert sheared.spacing == pytest.approx((0.8, 1.5, 2.5 * np.hypot(1, 0.3)))
    assert sheared.voxel_volume == pytest.approx(0.8 * 1.5 * 2.5)


@pytest.mark.parametrize("matrix", _MATRICES.values(), ids=_MATRICES)
def test_index_and_position_are_inverse(matrix):
    grid = Grid(_SHAPE, matrix)
    indices = np.array([[0, 0, 0], [5, 6, 4], [1.25, -3, 9]])
    positions = grid.to_physical(indices)
    assert positions[1] == pytest.approx((matrix @ [5, 6, 4, 1])[:3])
    assert grid.to_index(positions) == pytest.approx(indices)


@pytest.mark.parametrize("target", _MATRICES)
@pytest.mark.parametrize("source", _MATRICES)
def test_resampling_is_exact_for_what_is_linear_in_space(source, target):
    shape = (14, 18, 20)
    volume = sample(_linear, shape, grid_matrix("LPS", _SPACING, shape) if source == "straight" else _larger(source))
    # A grid that lies within the source, whatever its axes.
    matrix = _MATRICES[target].copy()
    matrix[:3, :3] *= 0.4
    matrix[:3, 3] = CENTER - matrix[:3, :3] @ ((np.array(_SHAPE[::-1]) - 1) / 2)
    for interpolation in ("linear", "bspline"):
        found = resample(volume, Grid(_SHAPE, matrix), interpolation)
        # Splines bend a little towards the mirrored voxels beyond the border.
        tolerance = 2e-3 if interpolation == "linear" else 0.3
        assert found.array[0] == pytest.approx(_linear(voxel_positions(_SHAPE, matrix)), abs=tolerance)
        assert np.array_equal(found.matrix, matrix)


def test_there_and_back_changes_nothing_where_the_source_covers():
    shape = (14, 18, 20)
    volume = sample(_linear, shape, _larger("oblique"))
    straight = resample(volume, regular_grid(volume.grid, "RAS", spacing=(0.7, 0.9, 0.8)))
    back = resample(straight, volume.grid)
    inner = (0, slice(3, -3), slice(3, -3), slice(3, -3))
    assert back.array[inner] == pytest.approx(volume.array[inner], abs=5e-3)


def test_nearest_keeps_type_and_values():
    labels = Volume(np.random.default_rng(0).integers(0, 300, (1, 6, 7, 8)).astype(np.uint16), np.eye(4))
    finer = resample(labels, regular_grid(labels.grid, "LPS", spacing=(0.5, 0.5, 0.5)), "nearest")
    assert finer.array.dtype == np.uint16
    assert np.array_equal(finer.array[:, ::2, ::2, ::2], labels.array)


def test_outside_is_the_channels_minimum_or_what_is_asked_for():
    volume = Volume(np.stack([np.full((4, 4, 4), 7.0), np.full((4, 4, 4), -3.0)]), np.eye(4))
    shifted = Grid((4, 4, 4), np.eye(4) + np.eye(4, k=3) * 100)
    assert resample(volume, shifted).array[:, 0, 0, 0].tolist() == [7, -3]
    assert resample(volume, shifted, outside=5).array[:, 0, 0, 0].tolist() == [5, 5]


def test_anti_aliasing_averages_what_a_coarser_axis_would_skip():
    stripes = Volume((np.arange(33) % 2)[None, :, None, None] * np.ones((1, 1, 8, 8)), np.eye(4))
    coarse = regular_grid(stripes.grid, "LPS", spacing=(1, 1, 3))
    assert set(resample(stripes, coarse).array.ravel()) == {0, 1}
    assert resample(stripes, coarse, anti_aliasing=True).array[0, 1:-1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("anatomical", [True, False])
@pytest.mark.parametrize("matrix", _MATRICES.values(), ids=_MATRICES)
def test_regular_grid_covers_its_source_about_the_same_centre(matrix, anatomical):
    source = Grid(_SHAPE, matrix)
    grid = regular_grid(source, "RAS", spacing=(0.3, 0.3, 0.3), anatomical=anatomical)
    assert grid.orientation == "RAS"
    assert grid.spacing == pytest.approx((0.3, 0.3, 0.3))
    assert grid.corners().mean(0) == pytest.approx(source.corners().mean(0))
    # The nearest whole number of voxels: at most half a voxel short on either side.
    indices = grid.to_index(source.corners())
    assert indices.min() > -0.5 - 0.51
    assert (indices.max(0) < np.array(grid.shape[::-1]) - 0.5 + 0.51).all()
    if anatomical:
        assert np.count_nonzero(grid.matrix[:3, :3]) == 3


@pytest.mark.parametrize("matrix", _MATRICES.values(), ids=_MATRICES)
def test_regular_grid_of_the_sources_own_spacing_is_the_source_reoriented(matrix):
    source = Grid(_SHAPE, matrix)
    for orientation in ("RAS", "LPS", "SAL"):
        nearest = reoriented_grid(source, orientation)
        # Headers round: a thousandth of a voxel is no reason to interpolate.
        grid = regular_grid(source, orientation, spacing=np.array(nearest.spacing) * 1.001, anatomical=False)
        assert grid.matches(nearest, tolerance=1e-9)


def test_regular_grid_of_a_shape_keeps_the_extent():
    source = Grid((20, 30, 40), np.diag([2, 3, 4, 1]))
    grid = regular_grid(source, "LPS", shape=(10, 10, 10))
    assert grid.shape == (10, 10, 10)
    assert grid.spacing == pytest.approx((8, 9, 8))
    assert grid.corners() == pytest.approx(source.corners())


def test_grids_match_up_to_a_part_of_a_voxel():
    grid = Grid((10, 10, 10), np.eye(4))
    shifted = np.eye(4)
    shifted[0, 3] = 0.01
    assert not grid.matches(Grid((10, 10, 10), shifted))
    assert grid.matches(Grid((10, 10, 10), shifted), tolerance=0.02)
    assert not grid.matches(Grid((10, 10, 11), np.eye(4)))


def _larger(name):
    rotation = oblique_rotation(20) if name == "oblique" else None
    shape = (14, 18, 20)
    return grid_matrix("PIR" if name == "oblique" else "RAS", _SPACING, shape, rotation, 0.3 * (name == "sheared"))


def _linear(positions):
    return 3 * positions[..., 0] - 2 * positions[..., 1] + 0.5 * positions[..., 2] + 10


def test_a_rectangular_grid_stands_in_for_a_sheared_one():
    shape = (14, 18, 20)
    volume = sample(_linear, shape, grid_matrix("LPS", (1.0, 1.2, 3.0), shape, shear=0.3))
    assert volume.grid.sheared
    grid = rectangular_grid(volume.grid)
    assert not grid.sheared
    assert grid.spacing == pytest.approx((1.0, 1.2, 3.0))
    index = grid.to_index(volume.grid.corners())
    assert (index > -1.01).all()
    assert (index < np.array(grid.shape[::-1]) + 0.01).all()
    k, j, i = (size // 2 for size in grid.shape)
    expected = _linear(grid.to_physical([(i, j, k)])[0])
    assert resample(volume, grid).array[0, k, j, i] == pytest.approx(expected, rel=1e-4)
