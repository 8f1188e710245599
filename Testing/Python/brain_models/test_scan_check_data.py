"""Samples of brain-scan-check: exact labels, reproducible, outliers towards no class."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch

from NNMambaBrainModels.brain_scan_check.samples import (
    CLASSES,
    UNDECIDED,
    UNKNOWN,
    VIEWS,
    Direction,
    ScanCheckSamples,
    ScanCheckSettings,
    probabilities,
    reorder,
)
from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.head_model import TEXTURES_PER_CLASS, HeadModel
from NNMambaBrainModels.heads.soft_head import SPACING, SoftHead
from NNMambaBrainModels.synthesis import outliers
from NNMambaBrainModels.synthesis.contrast import render
from NNMambaBrainModels.synthesis.deformation import DeformationSettings
from NNMambaBrainModels.synthesis.mr_sequences import Contrast, sequence_means, shows

_STILL = DeformationSettings(
    rotation=0.0, scale=(1.0, 1.0), stretch=0.0, shear=0.0, translation=(0.0, 0.0, 0.0), elastic=0.0
)
_PLAIN = ScanCheckSettings(
    size=16,
    deformation=_STILL,
    acquired_probability=1.0,
    outlier_probability=0.0,
    spread=(0.0, 0.0),
    bias_field=(0.0, 0.0),
    log_gamma=0.0,
    noise=(0.0, 0.0),
    thick_slice_probability=0.0,
    short_field_probability=0.0,
    skull_strip_probability=0.0,
)
_SMALL = ScanCheckSettings(size=16)


@pytest.fixture(scope="module")
def head():
    """A head whose brain fills the middle; its T1w volume is bright at the top in front, brighter on top."""
    classes = np.full((66, 72, 60), GeneratorClass.SOFT_TISSUE, np.uint8)
    classes[12:54, 12:60, 12:48] = GeneratorClass.CEREBRAL_CORTEX
    classes[20:46, 20:52, 20:40] = GeneratorClass.CEREBRAL_WHITE_MATTER
    classes[30:36, 30:42, 26:34] = GeneratorClass.CSF
    z, y, _ = np.meshgrid(*(np.linspace(-1, 1, size) for size in classes.shape), indexing="ij")
    volume = (0.3 + (z > 0) * 0.5 + (y > 0) * 0.2).astype(np.float16)
    return SoftHead.of(HeadModel("phantom", "nobody", classes, np.zeros_like(classes), {"T1w": volume}))


def test_directions_follow_the_axes_in_all_48_orders():
    rising = {Direction.SUPERIOR: 100.0, Direction.ANTERIOR: 10.0, Direction.LEFT_OR_RIGHT: 1.0}
    falling = {Direction.INFERIOR: -100.0, Direction.POSTERIOR: -10.0}
    z, y, x = np.indices((3, 4, 5))
    ramp = torch.as_tensor(100.0 * z + 10.0 * y + 1.0 * x)
    seen = set()
    for axes, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        volume, directions = reorder(ramp, axes, flips)
        seen.add(directions)
        # The first direction is that of i, the last axis of the array.
        for direction, axis in zip(directions, (2, 1, 0), strict=True):
            step = float(volume.diff(dim=axis).unique())
            assert step == (rising | falling)[direction] or (direction == Direction.LEFT_OR_RIGHT and abs(step) == 1)
    assert len(seen) == 24


def test_samples_directions_are_those_of_the_phantom(head):
    settings = replace(_PLAIN, spacing=5.0)
    for volume, wanted in (ScanCheckSamples([(head, 1.0)], settings, 3, 40)[index] for index in range(40)):
        targets = [int(part.argmax()) for part in wanted.split(CLASSES)]
        assert targets[3] == Contrast.T1
        middle = settings.size // 2
        for target, axis in zip(targets[:3], (2, 1, 0), strict=True):
            upper, lower = volume[0].narrow(axis, middle, middle).mean(), volume[0].narrow(axis, 0, middle).mean()
            if target in (Direction.ANTERIOR, Direction.SUPERIOR):
                assert upper > 1.1 * lower
            elif target in (Direction.POSTERIOR, Direction.INFERIOR):
                assert lower > 1.1 * upper
            else:
                assert upper == pytest.approx(float(lower), rel=0.1)


def test_sample_depends_on_the_seed_and_its_number_alone(head):
    first = ScanCheckSamples([(head, 1.0)], _SMALL, 7, 12)
    later = ScanCheckSamples([(head, 1.0)], _SMALL, 7, 6, first=6)
    for index in (5, 0, 3):
        for ours, theirs in zip(first[6 + index], later[index], strict=True):
            assert torch.equal(ours, theirs)
    other = ScanCheckSamples([(head, 1.0)], _SMALL, 8, 12)
    assert not torch.equal(first[6][0], other[6][0])


def test_views_show_one_volume(head):
    samples = ScanCheckSamples([(head, 1.0)], _SMALL, 0, 2 * VIEWS)
    views = [samples[index][0].flatten().sort().values for index in range(2 * VIEWS)]
    assert all(torch.equal(views[0], view) for view in views[1:VIEWS])
    assert not torch.equal(views[0], views[VIEWS])


def test_samples_are_normalized_volumes_of_the_networks_size(head):
    samples = ScanCheckSamples([(head, 1.0)], _SMALL, 1, 60)
    wanted = []
    for index in range(60):
        volume, target = samples[index]
        assert volume.shape == (1, 16, 16, 16)
        assert volume.dtype == torch.float32
        assert torch.isfinite(volume).all()
        assert -1e-6 <= volume.min() < volume.max() <= 1 + 1e-6
        wanted.append(target)
    # All kinds occur: heads, heads of unknown contrast, outliers.
    largest = torch.stack([part.max() for target in wanted for part in target.split(CLASSES)]).reshape(-1, 4)
    assert (largest[:, 0] == 1).sum() > 30
    assert ((largest[:, 0] == 1) & (largest[:, 3] == 0)).any()
    assert (largest[:, 0] < 0.5).any()
    with pytest.raises(IndexError):
        samples[60]


def test_unknown_asks_nothing_and_undecided_asks_for_all_alike():
    assert probabilities((0, 4, 1, UNKNOWN)).tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    undecided = probabilities((UNDECIDED,) * 4)
    assert undecided.tolist() == pytest.approx([0.2] * 15 + [0.25] * 4)


@pytest.mark.parametrize("contrast", Contrast)
def test_sequences_order_the_tissues_as_their_contrast_is_defined(contrast):
    rng = np.random.default_rng(0)
    for _ in range(20):
        means = sequence_means(contrast, rng).reshape(len(GeneratorClass), TEXTURES_PER_CLASS)
        fluid, gray, white = (
            float(means[c, 0])
            for c in (GeneratorClass.CSF, GeneratorClass.CEREBRAL_CORTEX, GeneratorClass.CEREBRAL_WHITE_MATTER)
        )
        assert [other for other in Contrast if shows(other, fluid, gray, white)] == [contrast]
        assert means.max() == 1
        assert means[GeneratorClass.AIR, 0] == 0


def test_soft_head_renders_the_mean_of_what_the_label_map_would(head):
    rng = np.random.default_rng(1)
    classes = rng.integers(0, len(GeneratorClass), (9, 6, 12), dtype=np.uint8)
    textures = rng.integers(0, TEXTURES_PER_CLASS, classes.shape, dtype=np.uint8)
    model = HeadModel("noise", "nobody", classes, textures)
    means = sequence_means(Contrast.T2, rng)
    fine = render(model, means, 0.0, rng)
    boxes = fine.reshape(3, SPACING, 2, SPACING, 4, SPACING).mean((1, 3, 5))
    assert SoftHead.of(model).render(means).numpy() == pytest.approx(boxes, abs=1e-5)


def test_outliers_are_what_they_say():
    volume = torch.as_tensor(np.random.default_rng(0).random((16, 16, 16), np.float32))
    shuffled = outliers.shuffled(volume, np.random.default_rng(1))
    assert not torch.equal(shuffled, volume)
    assert torch.equal(shuffled.flatten().sort().values, volume.flatten().sort().values)
    scrambled = outliers.scrambled(volume, np.random.default_rng(1))
    assert torch.fft.rfftn(scrambled).abs().numpy() == pytest.approx(torch.fft.rfftn(volume).abs().numpy(), abs=0.05)
    assert not torch.allclose(scrambled, volume, atol=0.1)
    for make in (outliers.noise, lambda shape, rng: outliers.bodies(shape, 7.0, rng)):
        first, second = make((16, 16, 16), np.random.default_rng(2)), make((16, 16, 16), np.random.default_rng(2))
        assert torch.equal(first, second)
        assert first.std() > 0
    phantoms = [outliers.bodies((16,) * 3, 7.0, np.random.default_rng(seed), phantoms=True) for seed in range(30)]
    # Of one body, of several, textured.
    kinds = {min(len(phantom.unique()), 100) for phantom in phantoms}
    assert {2, 100} < kinds
    assert len(kinds) > 3
