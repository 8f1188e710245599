"""Training and inference prepare a volume alike: a sample is what the engine makes of the volume before normalization.

The manifests are those that the packages are written with, the settings those that the models are trained with.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NNMambaBrainModels.brain_landmarks import package as landmarks_package
from NNMambaBrainModels.brain_landmarks import train as landmarks_train
from NNMambaBrainModels.brain_landmarks.samples import SyntheticLandmarks
from NNMambaBrainModels.brain_scan_check import package as scan_check_package
from NNMambaBrainModels.brain_scan_check import samples as scan_check
from NNMambaBrainModels.brain_scan_check.train import STAGES
from NNMambaBrainModels.brain_structures import package as structures_package
from NNMambaBrainModels.brain_structures import train as structures_train
from NNMambaBrainModels.brain_structures.samples import SyntheticHeads
from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.head_landmarks import landmarked
from NNMambaBrainModels.heads.head_model import HeadModel
from NNMambaBrainModels.heads.soft_head import SoftHead
from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.inference.preprocessing import prepare
from NNMambaLib.models.catalogue import bundled_folder
from NNMambaLib.models.manifest import HeatmapDecoding, Normalization
from NNMambaLib.models.package import open_package
from NNMambaLib.volumes.volume import LPS_TO_RAS, Volume

AS_MADE = Normalization("none")


@pytest.fixture(scope="module")
def head() -> HeadModel:
    """A brain in a head, with one acquired volume."""
    classes = np.full((90, 110, 90), GeneratorClass.AIR, np.uint8)
    classes[4:86, 4:106, 4:86] = GeneratorClass.SOFT_TISSUE
    classes[15:75, 15:95, 15:75] = GeneratorClass.CEREBRAL_CORTEX
    classes[30:60, 30:80, 30:60] = GeneratorClass.CEREBRAL_WHITE_MATTER
    bright = np.linspace(0.1, 1, 90, dtype=np.float32) * (classes > 0)
    return HeadModel("box", "nobody", classes, np.zeros_like(classes), {"T1w": bright.astype(np.float16)})


def stored(values: torch.Tensor, spacing: float) -> Volume:
    """Return a sample (1, z, y, x) as a volume with axes to the right, front and top."""
    return Volume(values.numpy(), LPS_TO_RAS @ np.diag([spacing] * 3 + [1.0]))


@pytest.mark.parametrize("number", range(2))
def test_a_sample_of_structures_is_what_the_engine_prepares(head, number):
    settings, manifest = structures_train.SYNTHESIS, structures_package.make_manifest(10)
    sample, as_made = (
        SyntheticHeads([(head, 1.0)], how, seed=1, length=2)[number][0]
        for how in (settings, replace(settings, normalization=AS_MADE))
    )
    prepared = prepare(stored(as_made, settings.spacing), manifest.input)
    assert not prepared.resampled
    assert np.array_equal(prepared.array, sample.numpy())
    assert not np.array_equal(as_made.numpy(), sample.numpy())


@pytest.mark.parametrize("outliers", [0.0, 1.0], ids=["head", "outlier"])
def test_a_sample_of_landmarks_is_what_the_engine_prepares(head, outliers):
    settings, manifest = landmarks_train.SYNTHESIS, landmarks_package.make_manifest(10, HeatmapDecoding(10.0, -3.0))
    sample, as_made = (
        SyntheticLandmarks([(landmarked(head), 1.0)], how, seed=1, length=1, outlier_probability=outliers)[0][0]
        for how in (settings, replace(settings, normalization=AS_MADE))
    )
    prepared = prepare(stored(as_made, settings.spacing), manifest.input)
    assert np.array_equal(prepared.array, sample.numpy())


@pytest.mark.parametrize("number", range(8))
def test_a_sample_of_the_scan_check_is_what_the_engine_prepares(head, number):
    settings = scan_check.ScanCheckSettings(short_field_probability=0.7)
    manifest = scan_check_package.make_manifest(STAGES, (1.0, 1.1, 1.2, 1.3))
    samples = scan_check.ScanCheckSamples([(SoftHead.of(head), 1.0)], settings, seed=7, length=8 * scan_check.VIEWS)
    rng = samples.generator(number)
    as_made, _ = scan_check.synthesize(samples.choose_head(rng), replace(settings, normalization=AS_MADE), rng)
    turned, _ = scan_check.reorder(as_made, *scan_check.random_order(samples.generator(number, 0)))
    prepared = prepare(stored(turned[None], settings.spacing), manifest.input)
    sample, _ = samples[number * scan_check.VIEWS]
    assert np.array_equal(fit_to_patch(prepared.array, manifest.input.patch[::-1]), sample.numpy())


@pytest.mark.parametrize(
    ("name", "normalization"),
    [
        ("brain-structures", structures_train.SYNTHESIS.normalization),
        ("brain-landmarks", landmarks_train.SYNTHESIS.normalization),
        ("brain-scan-check", scan_check.ScanCheckSettings().normalization),
    ],
)
def test_the_bundled_package_carries_the_normalization_of_its_training(name, normalization):
    (channel,) = open_package(bundled_folder() / name).manifest.input.channels
    assert channel.normalization == normalization
