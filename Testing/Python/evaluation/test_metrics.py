"""The metrics on cases small enough to check by hand."""

import math

import numpy as np
import pytest

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.classification import evaluate_classes, reliability
from NNMambaLib.evaluation.landmarks import compare_landmarks
from NNMambaLib.evaluation.segmentation import compare_labels, dice
from NNMambaLib.evaluation.summary import summarize
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("monai", reason="the extra evaluate is not installed")

# x, y and z spacing differ, so that an axis mixed up shows.
SPACING = (1.0, 2.0, 5.0)


def labels(*boxes, shape=(12, 12, 12), spacing=SPACING):
    """Return a label volume with boxes (value, z range, y range, x range)."""
    array = np.zeros((1, *shape), np.uint8)
    for value, z, y, x in boxes:
        array[0, slice(*z), slice(*y), slice(*x)] = value
    return Volume(array, np.diag([*spacing, 1.0]))


def test_equal_labels_agree_fully():
    volume = labels((1, (2, 6), (2, 6), (2, 6)), (2, (7, 9), (7, 9), (7, 9)))
    for agreement in compare_labels(volume, volume).values():
        assert (agreement.dice, agreement.hd95, agreement.nsd, agreement.volume_difference_ml) == (1, 0, 1, 0)


@pytest.mark.parametrize(("axis", "distance"), [("x", 1.0), ("y", 2.0), ("z", 5.0)])
def test_a_box_moved_by_one_voxel_is_one_spacing_away(axis, distance):
    moved = {"x": (0, 0, 1), "y": (0, 1, 0), "z": (1, 0, 0)}[axis]
    ours = labels((1, *((3 + m, 7 + m) for m in moved)))
    agreement = compare_labels(ours, labels((1, (3, 7), (3, 7), (3, 7))), tolerance=distance - 0.5)[1]
    # 4 x 4 x 4 voxels each, 3 x 4 x 4 of them shared.
    assert agreement.dice == pytest.approx(2 * 48 / 128)
    assert agreement.hd95 == pytest.approx(distance)
    assert agreement.nsd < 1
    assert compare_labels(ours, labels((1, (3, 7), (3, 7), (3, 7))), tolerance=distance)[1].nsd == pytest.approx(1)


def test_volumes_are_in_millilitres():
    agreement = compare_labels(labels((1, (0, 2), (0, 5), (0, 10))), labels((1, (0, 1), (0, 5), (0, 10))))[1]
    assert agreement.volume_ml == pytest.approx(100 * 10 / 1000)
    assert agreement.volume_difference_ml == pytest.approx(0.5)


def test_a_label_on_one_side_only_is_infinitely_far():
    agreement = compare_labels(labels(), labels((3, (2, 4), (2, 4), (2, 4))))[3]
    assert (agreement.dice, agreement.hd95, agreement.nsd) == (0, math.inf, 0)


def test_dice_of_masks_counts_a_label_on_one_side_only_as_missed_or_false():
    empty, small = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    small[:2] = True
    assert (dice(small, small), dice(empty, small), dice(small, empty)) == (1, 0, 0)
    assert dice(small, np.roll(small, 1, axis=0)) == 0.5
    assert math.isnan(dice(empty, empty))


def test_a_label_on_neither_side_is_not_compared():
    assert compare_labels(labels(), labels()) == {}


def test_axes_of_the_prediction_may_be_flipped():
    reference = labels((1, (1, 5), (2, 6), (3, 9)))
    assert compare_labels(reference.reoriented("RSA"), reference)[1].dice == 1


def test_other_grids_are_refused():
    with pytest.raises(VolumeError, match="different grids"):
        compare_labels(labels(), labels(spacing=(1.0, 2.0, 4.0)))


def test_labels_in_several_layers_are_refused():
    one = labels((1, (2, 4), (2, 4), (2, 4)))
    layers = Volume(np.concatenate([one.array, one.array]), one.matrix, "layers.seg.nrrd")
    for pair in ((one, layers), (layers, one)):
        with pytest.raises(VolumeError, match=r"layers\.seg\.nrrd has 2 channels .* in one layer"):
            compare_labels(*pair)


def test_landmark_errors_missed_and_false():
    reference = [{"AC": (0.0, 0.0, 0.0), "PC": (1.0, 1.0, 1.0)}, {"AC": (5.0, 5.0, 5.0), "PC": None}]
    predicted = [{"AC": (0.0, 0.0, 3.0), "PC": None}, {"AC": (5.0, 7.0, 5.0), "PC": (0.0, 0.0, 0.0)}]
    accuracy = compare_landmarks(predicted, reference)
    assert accuracy["AC"].errors == (3.0, 2.0)
    assert accuracy["AC"].mean_radial_error == 2.5
    assert [accuracy["AC"].success_rate(radius) for radius in (1.9, 2.0, 2.5, 3.0)] == [0, 0.5, 0.5, 1]
    assert (accuracy["PC"].missed, accuracy["PC"].false) == (1, 1)
    # The one that was there to be found was missed.
    assert accuracy["PC"].success_rate(4.0) == 0
    assert math.isnan(accuracy["PC"].mean_radial_error)


def test_two_classes():
    p = np.array([0.9, 0.8, 0.3, 0.2, 0.6])
    result = evaluate_classes(np.stack([1 - p, p], axis=1), [1, 1, 1, 0, 0], [1, 1, 0, 0, 1])
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.confusion == ((1, 1), (1, 2))
    assert result.binary.sensitivity == pytest.approx(2 / 3)
    assert result.binary.specificity == pytest.approx(1 / 2)
    # Of the 6 pairs of a positive and a negative, 5 are in order.
    assert result.binary.auc == pytest.approx(5 / 6)
    assert result.binary.youden_threshold == pytest.approx(0.8)


def test_more_classes_have_no_rates_of_two():
    result = evaluate_classes(np.eye(3)[[0, 1, 2, 2]], [0, 1, 2, 1], [0, 1, 2, 2])
    assert result.accuracy == 0.75
    assert result.binary is None


def test_rates_are_undefined_where_a_class_does_not_occur():
    result = evaluate_classes(np.array([[0.2, 0.8], [0.4, 0.6]]), [1, 1], [1, 1])
    assert math.isnan(result.binary.auc)
    assert result.accuracy == 1


def test_the_class_that_the_model_predicted_counts_and_not_the_more_probable_one():
    # A model with the threshold 0.8, which predicts the second class once only.
    p = np.array([0.9, 0.7, 0.6])
    result = evaluate_classes(np.stack([1 - p, p], axis=1), [1, 0, 0], [1, 0, 0])
    assert result.accuracy == 1
    assert result.binary.specificity == 1
    assert result.reliability.confidence == pytest.approx((0.3, 0.4, 0.9))


def test_every_case_needs_a_prediction():
    with pytest.raises(ValueError, match="one truth and one prediction a case"):
        evaluate_classes(np.eye(2), [0, 1], [0])


def test_reliability_by_hand():
    # Two cases at 0.95, one right; two at 0.55, both right.
    result = reliability(np.array([0.95, 0.95, 0.55, 0.55]), np.array([1, 0, 1, 1]))
    assert result.confidence == pytest.approx((0.55, 0.95))
    assert result.accuracy == (1.0, 0.5)
    assert result.calibration_error == pytest.approx((0.45 + 0.45) / 2)


def test_a_summary_leaves_out_what_does_not_exist():
    summary = summarize([1.0, 2.0, 3.0, math.nan])
    assert (summary.mean, summary.median, summary.count, summary.without) == (2, 2, 3, 1)
    assert 1 <= summary.low < 2 < summary.high <= 3
    assert summary == summarize([1.0, 2.0, 3.0, math.nan])


def test_a_summary_of_nothing_has_no_mean():
    assert summarize([math.nan]).mean is None
