"""The same patient gives the same labels and the same landmarks however the voxels lie."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.intensity_network import write_landmarks_package, write_segmentation_package
from helpers.phantoms import (
    LANDMARKS,
    ORIENTATIONS,
    bodies,
    bright_points,
    grid_matrix,
    oblique_rotation,
    sample,
    voxel_positions,
)
from NNMambaLib.inference.landmarks import within
from NNMambaLib.results import Landmark
from NNMambaLib.volumes.volume import Grid

# Voxels along z, y, x of the axis-aligned phantom, 3.6 mm wide: one tile holds it, and no two axes are alike.
_SPACING = 3.6
_SHAPE = (26, 32, 30)
_OWN_SPACING = {"spacing": (_SPACING,) * 3, "axes": "acquisition"}
_OTHER_SPACING = {"spacing": (4.0, 4.0, 4.0), "axes": "anatomical"}

# Half a voxel is 1.5 mm at 3 mm; a lost half-voxel shift along one axis, 1.5 mm, must not pass.
_TOLERANCE = 1.2
_GRIDS = {
    "straight": ((30, 34, 32), grid_matrix("LPS", (3, 3, 3), (30, 34, 32))),
    "oblique by 30 degrees about two axes": (
        (32, 34, 34),
        grid_matrix("LPS", (3, 3, 3), (32, 34, 34), rotation=oblique_rotation()),
    ),
    "oblique, flipped and permuted": (
        (34, 34, 32),
        grid_matrix("SAR", (3, 3, 3), (34, 34, 32), rotation=oblique_rotation()),
    ),
    "1 x 1 x 5 mm": ((20, 96, 96), grid_matrix("RAS", (1, 1, 5), (20, 96, 96))),
    "tilted gantry": ((32, 36, 32), grid_matrix("LPS", (3, 3, 3), (32, 36, 32), shear=0.3)),
}


@pytest.mark.parametrize("input_fields", [_OWN_SPACING, _OTHER_SPACING], ids=["own spacing", "other spacing"])
def test_labels_are_the_same_in_all_48_axis_orders_and_flips(engine, tmp_path, input_fields):
    package = write_segmentation_package(tmp_path, **input_fields)
    base = _phantom("LPS", bodies)
    expected = engine.segment(base, package).labels.array[0]
    assert len(set(ORIENTATIONS)) == 48
    assert np.unique(expected).tolist() == [0, 1, 2, 3]
    for orientation in ORIENTATIONS:
        turned = _phantom(orientation, bodies)
        found = engine.segment(turned, package).labels
        assert np.array_equal(found.matrix, turned.matrix)
        # The voxel of the straight phantom at the same place in the patient.
        place = np.linalg.inv(base.matrix) @ turned.matrix
        k, j, i = np.indices(found.array.shape[1:]).reshape(3, -1)
        x, y, z = np.rint(place[:3, :3] @ [i, j, k] + place[:3, 3:]).astype(int)
        assert np.array_equal(found.array.ravel(), expected[z, y, x]), orientation


@pytest.mark.parametrize("input_fields", [_OWN_SPACING, _OTHER_SPACING], ids=["own spacing", "other spacing"])
def test_landmarks_are_the_same_in_all_48_axis_orders_and_flips(engine, tmp_path, input_fields):
    package = write_landmarks_package(tmp_path, **input_fields)
    expected = _positions(engine.detect_landmarks(_phantom("LPS", bright_points), package))
    assert np.linalg.norm(expected - LANDMARKS, axis=1).max() < 0.3 * _SPACING
    for orientation in ORIENTATIONS:
        found = _positions(engine.detect_landmarks(_phantom(orientation, bright_points), package))
        assert np.abs(found - expected).max() < 1e-3, orientation


@pytest.mark.parametrize("axes", ["anatomical", "acquisition"])
@pytest.mark.parametrize("grid", _GRIDS)
def test_labels_lie_where_the_patient_has_them(engine, tmp_path, grid, axes):
    shape, matrix = _GRIDS[grid]
    phantom = sample(bodies, shape, matrix)
    labels = engine.segment(phantom, write_segmentation_package(tmp_path, axes=axes)).labels
    assert labels.array.shape == phantom.array.shape
    assert np.array_equal(labels.matrix, matrix)
    found, positions = labels.array[0], voxel_positions(shape, matrix)
    truth = np.rint(bodies(positions)).clip(0, 3)
    for label in range(1, 4):
        a, b = truth == label, found == label
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.88
        assert np.linalg.norm(positions[a].mean(0) - positions[b].mean(0)) < _TOLERANCE


@pytest.mark.parametrize("axes", ["anatomical", "acquisition"])
@pytest.mark.parametrize("grid", _GRIDS)
def test_landmarks_lie_where_the_patient_has_them(engine, tmp_path, grid, axes):
    package = write_landmarks_package(tmp_path, axes=axes)
    found = _positions(engine.detect_landmarks(sample(bright_points, *_GRIDS[grid]), package))
    assert np.linalg.norm(found - LANDMARKS, axis=1).max() < _TOLERANCE


def test_thick_slices_need_no_resampling_for_a_model_of_thick_slices(engine, tmp_path):
    fields = {"spacing": (1.0, 1.0, 5.0), "patch": (96, 96, 32)}
    shape, matrix = _GRIDS["1 x 1 x 5 mm"]
    found = engine.detect_landmarks(sample(bright_points, shape, matrix), write_landmarks_package(tmp_path, **fields))
    off = np.abs(_positions(found) - LANDMARKS)
    assert off[:, :2].max() < 0.5
    assert off[:, 2].max() < 2.5


def test_whole_volume_at_a_given_number_of_voxels(engine, tmp_path):
    """The way of models that take no spacing: the volume's extent, whatever it is, becomes the model's shape."""
    fields = {"spacing": None, "shape": (32, 48, 32), "patch": (32, 48, 32)}
    shape, matrix = _GRIDS["straight"]
    found = engine.detect_landmarks(sample(bright_points, shape, matrix), write_landmarks_package(tmp_path, **fields))
    assert np.linalg.norm(_positions(found) - LANDMARKS, axis=1).max() < _TOLERANCE


def test_other_channels_are_brought_to_the_first_ones_grid(engine, landmarks_package):
    """Each channel comes from its own file, and no two need share a grid."""
    grids = ["straight", "oblique by 30 degrees about two axes", "tilted gantry"]
    volumes = [
        sample(lambda positions, n=n: bright_points(positions)[n], *_GRIDS[grid], name=grid)
        for n, grid in enumerate(grids)
    ]
    result = engine.detect_landmarks(volumes, landmarks_package)
    assert np.linalg.norm(_positions(result) - LANDMARKS, axis=1).max() < _TOLERANCE
    notices = " ".join(result.provenance.notices)
    assert all(f"{grid} was resampled to the grid of straight" in notices for grid in grids[1:])


def _phantom(orientation, function):
    sizes = {"L": 2, "P": 1, "S": 0}
    opposite = {"R": "L", "A": "P", "I": "S"}
    # The size of each LPS axis stays with it; shapes are along z, y, x.
    shape = tuple(_SHAPE[sizes[opposite.get(letter, letter)]] for letter in reversed(orientation))
    return sample(function, shape, grid_matrix(orientation, (_SPACING,) * 3, shape), name=orientation)


def _positions(result):
    assert all(landmark.found for landmark in result.landmarks)
    return np.array([landmark.position for landmark in result.landmarks])


def test_a_landmark_outside_the_volume_is_not_found():
    grid = Grid((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    landmark = Landmark("L", "", (6.9, 0.0, 0.0), 0.9)
    assert within(grid, landmark).found
    outside = within(grid, replace(landmark, position=(7.1, 0.0, 0.0)))
    assert not outside.found
    assert outside.confidence == 0.9
