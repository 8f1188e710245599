"""Resizing by splines gives the numbers of scipy, as nnU-Net resamples."""

import numpy as np
import pytest
from scipy import ndimage

from NNMambaLib.volumes.spline import resize


def by_scipy(array, shape, order):
    """scikit-image's resize with mode "edge", without anti-aliasing: scipy's zoom, clipped to the input's range."""
    zoom = np.array(shape) / array.shape
    zoomed = ndimage.zoom(array.astype(float), zoom, order=order, mode="nearest", grid_mode=True)
    return zoomed.clip(array.min(), array.max())


SIZES = [
    ((11, 23, 17), (19, 15, 17)),
    ((40, 31, 12), (13, 62, 12)),
    ((1, 9, 30), (4, 27, 11)),
    ((5, 2, 3), (5, 7, 40)),
    ((16, 16, 16), (16, 16, 16)),
]


@pytest.mark.parametrize("order", [3, 1])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_a_spline_along_all_axes_is_scipys(old, new, order):
    array = np.random.default_rng(0).normal(100, 50, old)
    resized = resize(array, new, order)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, by_scipy(array, new, order), atol=2e-4)


@pytest.mark.parametrize("order", [3, 1])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_planes_are_resized_by_themselves_and_the_nearest_taken(old, new, axis, order):
    array = np.random.default_rng(1).normal(100, 50, old)
    planes = [by_scipy(plane, np.delete(new, axis), order) for plane in np.moveaxis(array, axis, 0)]
    expected = np.stack(planes, axis)
    if old[axis] != new[axis]:
        index = np.stack(np.meshgrid(*(np.arange(size, dtype=float) for size in new), indexing="ij"))
        index[axis] = (index[axis] + 0.5) * (old[axis] / new[axis]) - 0.5
        expected = ndimage.map_coordinates(expected, index, order=0, mode="nearest")
    np.testing.assert_allclose(resize(array, new, order, axis), expected, atol=2e-4)


def test_the_range_of_values_is_kept():
    step = np.zeros((20, 20, 20))
    step[10:] = 1
    resized = resize(step, (33, 20, 20), 3)
    assert resized.min() == 0
    assert resized.max() == 1
