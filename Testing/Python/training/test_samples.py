"""Training samples: what the network is shown, and that labels and landmarks move with the voxels."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.phantoms import LANDMARKS, bright_points, sample
from helpers.training_folders import LANDMARK_NAMES, phantom_grid, write_markups, write_segmentation_folder
from NNMambaLib.inference.landmarks import decode
from NNMambaLib.models.manifest import Channel, HeatmapDecoding, InputSpecification, LandmarkDefinition, Normalization
from NNMambaLib.training.calibration import DEFAULT_DECODING, fit_heatmap_decoding
from NNMambaLib.training.data.augmentation import Augmentation
from NNMambaLib.training.data.patches import cut_patch, place_patch
from NNMambaLib.training.data.prepared import open_case, prepare_case
from NNMambaLib.training.data.samplers import LandmarksSampler, SegmentationSampler
from NNMambaLib.training.data.samples import Samples
from NNMambaLib.training.tasks.landmarks import LandmarksTask
from NNMambaLib.training.tasks.segmentation import SegmentationTask
from NNMambaLib.volumes.files import write_volume

pytest.importorskip("monai", reason="the extra train is not installed")

PATCH = (32, 32, 32)


def specification(channels, spacing=(3.0, 3.0, 3.0)):
    return InputSpecification(
        tuple(Channel(f"channel {n}", Normalization("none")) for n in range(channels)), PATCH, spacing=spacing
    )


@pytest.fixture(scope="module", params=[0, 1, 2], ids=["oblique", "anisotropic", "flipped"])
def bright(request, tmp_path_factory):
    """A prepared case whose three channels peak at its three landmarks."""
    folder = tmp_path_factory.mktemp("bright")
    write_volume(sample(bright_points, *phantom_grid(request.param)), folder / "head.nrrd")
    write_markups(folder / "head.mrk.json", dict(zip(LANDMARK_NAMES, LANDMARKS, strict=True)))
    task = LandmarksTask(folder)
    prepare_case(task.cases[0], specification(3), task.reference, folder / "prepared")
    return open_case(folder / "prepared", "head")


@pytest.mark.parametrize("augmented", [False, True])
def test_landmarks_lie_where_their_channels_peak(bright, augmented):
    """Whether the sample was turned, scaled and mirrored or not."""
    augmentation = Augmentation(PATCH, (3.0,) * 3, ("x", "y", "z")) if augmented else None
    sampler = LandmarksSampler(PATCH, 1.0, augmentation)
    seen = 0
    for number in range(6):
        volume, landmarks = sampler(bright, np.random.default_rng(number))
        assert (volume.dtype, landmarks.dtype, volume.shape) == (torch.float32, torch.float32, (3, *PATCH))
        for channel, (x, y, z, present) in zip(volume, landmarks.numpy(), strict=True):
            if not present or min(x, y, z) < 1 or max(x, y, z) > 30:
                continue
            peak = np.unravel_index(int(channel.argmax()), PATCH)
            assert np.allclose(peak[::-1], (x, y, z), atol=1.6)
            seen += 1
    assert seen >= 9


def test_landmarks_outside_the_patch_are_absent(bright):
    size = (16, 16, 16)
    _, landmarks = LandmarksSampler(size, 1.0, None)(bright, np.random.default_rng(0))
    inside = np.all((landmarks[:, :3].numpy() >= -0.5) & (landmarks[:, :3].numpy() <= 15.5), axis=1)
    assert landmarks[:, 3].tolist() == inside.astype(float).tolist()
    assert 1 <= inside.sum() < 3


def test_what_is_learnt_decodes_to_where_it_was_placed(bright):
    """The targets' geometry is that of inference: decoding a perfect heatmap gives the markups back, in mm."""
    from NNMambaLib.training.objectives.landmarks import heatmaps

    target = torch.from_numpy(np.array(bright.reference["landmarks"], np.float32))[None]
    for heatmap, place in zip(heatmaps(target, bright.grid.shape, 2.0)[0], LANDMARKS, strict=True):
        found = decode(heatmap.numpy(), bright.grid, LandmarkDefinition("", ""), HeatmapDecoding(10, -3))
        assert np.allclose(found.position, place, atol=0.05)


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """The folder of a prepared case with a body and a small lesion, and its name."""
    folder = write_segmentation_folder(tmp_path_factory.mktemp("labeled") / "data", cases=1, channels=("MR",))
    task = SegmentationTask(folder)
    prepare_case(task.cases[0], specification(1), task.reference, folder / "prepared")
    return folder / "prepared", task.cases[0].name


@pytest.mark.parametrize("augmented", [False, True])
def test_labels_move_with_their_voxels(labeled, augmented):
    """The phantom is brightest where it is labelled 2; the unchanged intensities say where that is."""
    augmentation = Augmentation(PATCH, (3.0,) * 3, ("x",)) if augmented else None
    sampler = SegmentationSampler(PATCH, 1.0, augmentation)
    for number in range(6):
        volume, labels = sampler(open_case(*labeled), np.random.default_rng(number))
        assert (volume.shape, labels.shape, labels.dtype) == ((1, *PATCH), PATCH, torch.int64)
        means = [volume[0][labels == value].mean() for value in labels.unique()]
        assert means == sorted(means)


def test_samples_of_the_foreground_contain_every_label_alike(labeled):
    size = (16, 16, 16)
    found = [SegmentationSampler(size, 1.0, None)(open_case(*labeled), np.random.default_rng(n))[1] for n in range(30)]
    assert all((labels > 0).any() for labels in found)
    assert sum(bool((labels == 2).any()) for labels in found) >= 15


def test_a_sample_depends_on_its_number_alone(labeled):
    sampler = SegmentationSampler(PATCH, 0.33, Augmentation(PATCH, (3.0,) * 3))
    folder, name = labeled
    many, later = (Samples(folder, [name], sampler, seed=5, first=first, length=4 - first) for first in (0, 3))
    for ours, theirs in zip(many[3], later[0], strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(many[2][0], later[0][0])


def test_every_case_gives_one_sample_a_turn(labeled, tmp_path):
    prepared, name = labeled
    for copy in "abcde":
        shutil.copytree(prepared / name, tmp_path / copy)
    samples = Samples(tmp_path, "abcde", lambda case, rng: case.name, seed=0, first=0, length=20)
    turns = ["".join(samples[n] for n in range(first, first + 5)) for first in range(0, 20, 5)]
    assert all(sorted(turn) == list("abcde") for turn in turns)
    assert len(set(turns)) > 1


def test_patches_beyond_the_volume_are_padded_as_inference_does_it():
    array = np.arange(1, 25, dtype=np.float32).reshape(1, 2, 3, 4)
    start = place_patch((2, 3, 4), (4, 3, 2), np.random.default_rng(0), around=(0, 0, 3))
    assert start == (-1, 0, 2)
    patch = cut_patch(array, start, (4, 3, 2))
    assert np.array_equal(patch[:, 1:3], array[..., 2:4])
    assert not patch[:, [0, 3]].any()
    assert not cut_patch(array, (9, 0, 0), (4, 3, 2)).any()


def test_a_label_that_is_found_in_vain_costs_dice(labeled):
    case, task = open_case(*labeled), SegmentationTask(labeled[0].parent)
    right = np.array(case.reference["labels"])
    without_lesion = replace(case, reference={"labels": np.where(right == 2, 1, right)})
    assert task.metrics([task.score(case, right)]) == {"dice": 1, "dice body": 1, "dice lesion": 1}
    assert task.metrics([task.score(without_lesion, right)])["dice lesion"] == 0


def test_a_preparation_that_was_killed_is_done_again(labeled, tmp_path, monkeypatch):
    task = SegmentationTask(labeled[0].parent)
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", lambda path, array: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare_case(task.cases[0], specification(1), task.reference, tmp_path)
    assert not (tmp_path / "case0").exists()
    prepare_case(task.cases[0], specification(1), task.reference, tmp_path)
    assert open_case(tmp_path, "case0").array.shape == open_case(*labeled).array.shape


def test_confidences_are_calibrated_where_there_are_enough_landmarks():
    rng = np.random.default_rng(0)
    present = rng.random(400) < 0.5
    peaks = np.where(present, rng.normal(0.8, 0.15, 400), rng.normal(0.3, 0.15, 400))
    fitted = fit_heatmap_decoding(peaks, present)
    assert -fitted.intercept / fitted.slope == pytest.approx(0.55, abs=0.05)
    assert fit_heatmap_decoding([0.9, 0.8], [True, True]) == DEFAULT_DECODING
