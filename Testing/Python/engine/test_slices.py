"""Slices show a volume, its labels and its points where they lie, whatever the volume's axes."""

import numpy as np
import pytest

from NNMambaLib.export.slices import ANATOMICAL_PLANES, gray, paint_labels, plane, planes, window
from NNMambaLib.volumes.volume import Grid, Volume, reoriented_grid

SHAPE = (20, 30, 24)
GRID = Grid(SHAPE, np.array([[2.0, 0, 0, -31], [0, 1.5, 0, 12], [0, 0, 3.0, 5], [0, 0, 0, 1]]))
POINT = (-11.0, 33.0, 26.0)


def ball(orientation: str) -> Volume:
    """Return a volume that is 1 within 8 mm of POINT, and 0 elsewhere."""
    grid = reoriented_grid(GRID, orientation)
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    distance = np.linalg.norm(grid.to_physical(indices.reshape(-1, 3)) - POINT, axis=1).reshape(grid.shape)
    return Volume((distance < 8)[None].astype(np.uint8), grid.matrix)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR"])
def test_a_point_is_drawn_where_the_volume_and_its_labels_show_it(orientation):
    volume = ball(orientation)
    for cut in planes(volume.grid, POINT, size=200):
        pixels = gray(volume, cut, (0.0, 1.0))
        labeled = paint_labels(np.zeros_like(pixels), cut, volume, [(255, 0, 0)])
        column, row = cut.pixel(POINT)
        for shown in (pixels[..., 0] > 0.5, labeled[..., 0] == 1):
            middle = np.argwhere(shown).mean(0)
            assert middle == pytest.approx([row, column], abs=2 / cut.step), cut.name
            # The ball is as wide in pixels as in mm: pixels are square, and voxels are not.
            assert np.ptp(np.argwhere(shown), axis=0) * cut.step == pytest.approx([16, 16], abs=3.1)
        assert not labeled[..., 1:].any()


def test_pixels_and_positions_are_two_ways_of_one_map():
    for cut in planes(GRID, POINT):
        positions = cut.positions()
        assert positions.shape == (*cut.shape, 3)
        assert cut.pixel(positions[3, 7]) == pytest.approx((7, 3))
        step = positions[0, 1] - positions[0, 0]
        assert np.linalg.norm(step) == pytest.approx(cut.step)


def test_a_plane_of_given_width_is_a_square_about_its_point():
    cut = plane(GRID, "Sagittal", ANATOMICAL_PLANES["Sagittal"], POINT, width=40.0, size=100)
    assert cut.shape == (100, 100)
    assert cut.pixel(POINT) == pytest.approx((49.5, 49.5))
    assert cut.step == pytest.approx(0.4)


def test_window_leaves_out_what_few_voxels_have_and_is_never_empty():
    values = np.concatenate([np.linspace(0, 100, 10_000), [1e6]])
    low, high = window(values)
    assert (low, high) == pytest.approx((0.5, 99.5), abs=0.1)
    assert window(np.full(10, 7.0)) == (7.0, 8.0)
