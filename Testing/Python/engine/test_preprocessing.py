"""Preprocessing: what a network is given, by the manifest."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.phantoms import ORIENTATIONS, bodies, grid_matrix, oblique_rotation, sample, voxel_positions
from NNMambaLib.errors import VolumeError
from NNMambaLib.inference.preprocessing import normalize, prepare
from NNMambaLib.models.manifest import Channel, InputSpecification, Normalization
from NNMambaLib.volumes.volume import Volume

_VALUES = [-200.0, 0.0, 0.0, 10.0, 20.0, 50.0]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Normalization("none"), _VALUES),
        (Normalization("ct", low=-100, high=20, mean=10, sd=5), [-22, -2, -2, 0, 2, 2]),
        (Normalization("percentile", "all", low=0, high=100), [0, 0.8, 0.8, 0.84, 0.88, 1]),
        # Of 10, 20, 50 the 50th percentile is 20.
        (Normalization("percentile", "positive", low=0, high=50), [0, 0, 0, 0, 1, 1]),
    ],
)
def test_voxels_are_scaled_as_the_manifest_says(how, expected):
    assert _normalized(how) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("mask", "counted"),
    [
        ("all", _VALUES),
        ("nonzero", [-200, 10, 20, 50]),
        ("positive", [10, 20, 50]),
        # The mean of all is -20.
        ("above-mean", [0, 0, 10, 20, 50]),
    ],
)
def test_mask_says_which_voxels_statistics_are_taken_over(mask, counted):
    mean, sd = np.mean(counted), np.std(counted)
    assert _normalized(Normalization("z-score", mask)) == pytest.approx((np.array(_VALUES) - mean) / sd, abs=1e-5)
    clipped = np.clip(_VALUES, mean - sd, mean + sd)
    expected = (clipped - mean + sd) / (2 * sd) * 255
    assert _normalized(Normalization("clip-sd", mask, sds=1.0)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", ["z-score", "percentile", "clip-sd"])
def test_volume_of_one_value_gives_numbers(kind):
    values = np.full((2, 2, 2), 7, np.float32)
    normalize(values, Normalization(kind, "all", low=1, high=99, sds=3))
    assert np.isfinite(values).all()


def test_empty_mask_is_refused_with_the_channels_name():
    volume = Volume(np.zeros((1, 4, 4, 4), np.float32), np.eye(4), "blank.nrrd")
    with pytest.raises(
        VolumeError, match=r"blank\.nrrd, channel T1, has no voxels that are positive: .* check the input"
    ):
        prepare(volume, _specification(Normalization("z-score", "positive"), "T1"))


def test_each_channel_is_scaled_in_its_own_way_and_the_volume_is_left_alone():
    array = np.random.default_rng(0).uniform(1, 9, (2, 4, 5, 6)).astype(np.float32)
    volume = Volume(array.copy(), np.eye(4))
    prepared = prepare(volume, _specification(Normalization("none"), "CT", Normalization("z-score"), "T1"))
    assert not prepared.resampled
    assert np.array_equal(prepared.array[0], array[0])
    assert prepared.array[1].mean() == pytest.approx(0, abs=1e-5)
    assert prepared.array[1].std() == pytest.approx(1, abs=1e-5)
    assert np.array_equal(volume.array, array)


@pytest.mark.parametrize("rotation", [None, oblique_rotation()], ids=["straight", "oblique"])
def test_axes_of_the_array_stay_as_they_are_stored_whatever_the_header_says(rotation):
    array = np.random.default_rng(0).uniform(1, 9, (1, 4, 5, 6)).astype(np.float32)
    own, coarser = _stored_axes((2.0, 3.0, 5.0)), _stored_axes((3.0, 3.0, 4.0))
    expected = None
    for orientation in ORIENTATIONS:
        volume = Volume(array, grid_matrix(orientation, (2, 3, 5), array.shape[1:], rotation))
        kept = prepare(volume, own)
        assert not kept.resampled
        assert np.array_equal(kept.array, array)
        assert np.array_equal(kept.grid.matrix, volume.matrix)
        resampled = prepare(volume, coarser)
        assert resampled.resampled
        # Extents of 12, 15 and 20 mm along x, y, z.
        assert resampled.array.shape == (1, 5, 5, 4)
        expected = resampled.array if expected is None else expected
        assert np.allclose(resampled.array, expected, atol=1e-3), orientation


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SAR", "PIL"])
@pytest.mark.parametrize("rotation", [None, oblique_rotation()], ids=["straight", "oblique"])
def test_stored_axes_are_resampled_in_their_place_and_direction(orientation, rotation):
    shape, spacing = (20, 60, 66), (1.5, 1.5, 5.0)
    volume = sample(bodies, shape, grid_matrix(orientation, spacing, shape, rotation))
    for specification in (_stored_axes((3.0, 3.0, 3.0)), replace(_stored_axes(None), shape=(32, 32, 32))):
        prepared = prepare(volume, specification)
        matrix = prepared.grid.matrix
        assert np.allclose(matrix[:3, :3] / prepared.grid.spacing, volume.matrix[:3, :3] / spacing)
        assert prepared.grid.shape == ((32, 32, 32) if specification.shape else (33, 30, 33))
        # Away from the ends, where linear interpolation has a voxel on either side.
        inner = (slice(3, -3),) * 3
        there = bodies(voxel_positions(prepared.grid.shape, matrix))
        assert np.abs(prepared.array[0][inner] - there[inner]).max() < 0.25


def _stored_axes(spacing):
    channels = (Channel("MR", Normalization("none")),)
    return InputSpecification(channels, (16, 16, 16), spacing, orientation=None, axes="array", anti_aliasing=False)


def _normalized(how):
    values = np.array(_VALUES, np.float32).reshape(1, 2, 3)
    normalize(values, how)
    return values.ravel()


def _specification(*normalizations_and_names):
    pairs = zip(normalizations_and_names[::2], normalizations_and_names[1::2], strict=True)
    channels = tuple(Channel(name, how) for how, name in pairs)
    return InputSpecification(channels, (16, 16, 16), (1.0, 1.0, 1.0), orientation="LPS")
