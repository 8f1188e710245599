"""Label maps: codes, textures and samples of the atlas."""

import numpy as np
import pytest

from NNMambaBrainModels.heads import fetch_data
from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.label_maps import divide_by_brightness, read_atlas, sample_label_map, to_generator_classes


def test_left_and_right_share_a_class_and_unknown_codes_are_refused():
    assert to_generator_classes(np.array([10, 49])).tolist() == [GeneratorClass.THALAMUS] * 2
    with pytest.raises(ValueError, match="999"):
        to_generator_classes(np.array([0, 999]))


def test_soft_tissue_is_divided_by_brightness_and_the_brain_is_not():
    classes = np.full((6, 6, 9), GeneratorClass.SOFT_TISSUE, dtype=np.uint8)
    classes[:2] = GeneratorClass.CEREBRAL_CORTEX
    intensity = np.repeat([0.1, 0.5, 0.9], 3) * np.ones((6, 6, 1))
    textures = divide_by_brightness(classes, intensity)
    assert not textures[:2].any()
    assert textures[4, 3, [0, 4, 8]].tolist() == [0, 1, 2]


def test_draw_without_noise_is_the_most_probable_class_and_noise_moves_boundaries():
    ramp = np.linspace(0, 1, 24, dtype=np.float32) * np.ones((24, 24, 1), dtype=np.float32)
    priors = np.stack([1 - ramp, ramp])
    codes = np.array([GeneratorClass.CSF, GeneratorClass.CEREBRAL_CORTEX])
    exact = sample_label_map(priors, codes, 2.0, 0.0, np.random.default_rng(0))
    assert np.array_equal(exact == GeneratorClass.CEREBRAL_CORTEX, ramp > 0.5)
    noisy = sample_label_map(priors, codes, 2.0, 1.0, np.random.default_rng(0))
    assert 0 < np.mean(noisy != exact) < 0.4


def test_draw_leaves_what_the_mesh_does_not_cover_to_air():
    priors = np.zeros((2, 3, 3, 3), dtype=np.float32)
    drawn = sample_label_map(
        priors, np.array([GeneratorClass.CSF, GeneratorClass.SKULL]), 1.0, 0.0, np.random.default_rng(0)
    )
    assert np.all(drawn == GeneratorClass.AIR)


def test_atlas_is_merged_and_turned_to_ras(tmp_path):
    priors = np.zeros((2, 3, 4, 3), dtype=np.uint16)
    priors[0, 1, 2, :2] = 30000, 35535
    np.savez(
        tmp_path / "atlas_priors.npz", priors=priors, codes=np.array([3, 42, 2]), index_to_ras=np.diag([-1, 1, 1, 1])
    )
    merged, codes, leftness = read_atlas(tmp_path)
    assert codes.tolist() == [GeneratorClass.CEREBRAL_CORTEX, GeneratorClass.CEREBRAL_WHITE_MATTER]
    assert merged.shape == (2, 4, 3, 2)
    assert merged[0, 2, 1, 1] == pytest.approx(1.0)
    assert leftness[2, 1, 1] == pytest.approx((30000 - 35535) / 65535), "code 3 is left, 42 right"


def test_source_with_another_digest_is_refused(tmp_path, monkeypatch):
    source = fetch_data.Source("volume.nii.gz", "0" * 64, "MIT")
    monkeypatch.setitem(fetch_data.SOURCES, "altered", source)
    (tmp_path / "volume.nii.gz").write_bytes(b"altered")
    with pytest.raises(ValueError, match="SHA-256"):
        fetch_data.source_path(tmp_path, "altered")
