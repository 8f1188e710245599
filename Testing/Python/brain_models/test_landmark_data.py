"""Landmarks that follow their head through every deformation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NNMambaBrainModels.brain_landmarks.samples import ABSENT, PRESENT, UNKNOWN, SyntheticLandmarks, landmark_target
from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.head_landmarks import LandmarkedHead, landmarked
from NNMambaBrainModels.heads.head_model import HeadModel
from NNMambaBrainModels.heads.landmark_set import CENTROIDS, FIDUCIALS, LANDMARKS, mirrored_order
from NNMambaBrainModels.heads.structure_labels import StructureLabel
from NNMambaBrainModels.synthesis.deformation import DeformationSettings
from NNMambaBrainModels.synthesis.synthesis import SynthesisSettings, synthesize

NAMES = [landmark.name for landmark in LANDMARKS]
SETTINGS = SynthesisSettings(
    shape=(32, 32, 32),
    spacing=2.0,
    acquired_probability=1.0,
    blur=(0.3, 0.3),
    bias_field=(0.0, 0.0),
    log_gamma=0.0,
    noise=(0.0, 0.0),
    thick_slice_probability=0.0,
    neck_probability=0.0,
    cut_probability=0.0,
    skull_strip_probability=0.0,
    deformation=DeformationSettings(translation=(3.0, 3.0, 3.0), mirror_probability=0.0),
)


@pytest.fixture
def head() -> LandmarkedHead:
    """A brain with a putamen on the right, and AC in the middle of a bright ball."""
    axes = np.meshgrid(*(np.arange(64),) * 3, indexing="ij")

    def ball(center, radius):
        return sum((a - c) ** 2 for a, c in zip(axes, center, strict=True)) < radius**2

    classes = np.where(ball((32, 32, 32), 28), GeneratorClass.CEREBRAL_CORTEX, 0).astype(np.uint8)
    classes[ball((36, 30, 44), 5)] = GeneratorClass.PUTAMEN
    intensity = ball((28, 40, 30), 8).astype(np.float16)
    model = HeadModel("ball", "nobody", classes, np.zeros_like(classes), {"T1w": intensity})
    fiducials = np.full((len(FIDUCIALS), 3), np.nan)
    fiducials[0] = 28, 40, 30
    return landmarked(model, fiducials)


def test_every_landmark_has_a_name_a_definition_and_a_mirror_image():
    assert len(set(NAMES)) == len(LANDMARKS) == 32
    assert all(landmark.definition.endswith(".") for landmark in LANDMARKS)
    order = mirrored_order()
    assert [order[partner] for partner in order] == list(range(len(LANDMARKS)))
    assert NAMES[order[NAMES.index("L MB")]] == "R MB"
    assert order[NAMES.index("AC")] == NAMES.index("AC")


def test_centroid_is_the_mean_of_the_structures_voxels(head):
    right_putamen = len(FIDUCIALS) + CENTROIDS.index(StructureLabel.RIGHT_PUTAMEN)
    assert head.landmarks[right_putamen] == pytest.approx([36, 30, 44])
    assert np.isnan(head.landmarks[len(FIDUCIALS) + CENTROIDS.index(StructureLabel.LEFT_PUTAMEN)]).all()


@pytest.mark.parametrize("seed", range(4))
def test_target_is_where_the_deformed_volume_shows_the_landmark(head, seed):
    sample = synthesize(head.head, SETTINGS, np.random.default_rng(seed))
    x, y, z, state = landmark_target(sample, head.landmarks)[0].tolist()
    assert state == PRESENT
    bright = torch.nonzero(sample.intensity > 0.7).float().mean(0)
    assert [z, y, x] == pytest.approx(bright.tolist(), abs=0.5)


def test_mirrored_head_has_its_right_landmark_on_the_left(head):
    mirrored = replace(SETTINGS, deformation=replace(SETTINGS.deformation, mirror_probability=1.0))
    sample = synthesize(head.head, mirrored, np.random.default_rng(0))
    target = landmark_target(sample, head.landmarks)
    assert target[NAMES.index("L putamen centroid"), 3] == PRESENT
    assert target[NAMES.index("L putamen centroid"), 0] < 16
    assert target[NAMES.index("R putamen centroid"), 3] == UNKNOWN


def test_landmark_outside_the_field_of_view_is_absent_and_one_nobody_knows_is_unknown(head):
    sample = synthesize(head.head, SETTINGS, np.random.default_rng(0))
    hidden = replace(sample, visible=torch.zeros_like(sample.visible))
    assert landmark_target(hidden, head.landmarks)[0, 3] == ABSENT
    far = head.landmarks.copy()
    far[0] = 28, 40, 300
    assert landmark_target(sample, far)[0, 3] == ABSENT
    assert landmark_target(sample, head.landmarks)[NAMES.index("PC"), 3] == UNKNOWN


def test_items_depend_on_their_number_alone_and_outliers_have_no_landmarks(head):
    whole = SyntheticLandmarks([(head, 1.0)], SETTINGS, seed=3, length=4)
    rest = SyntheticLandmarks([(head, 1.0)], SETTINGS, seed=3, length=2, first=2)
    assert torch.equal(whole[3][0], rest[1][0])
    assert torch.equal(whole[3][1], rest[1][1])
    intensity, target = SyntheticLandmarks([(head, 1.0)], SETTINGS, 3, 1, outlier_probability=1.0)[0]
    assert intensity.shape == (1, 32, 32, 32)
    assert not target.any()
