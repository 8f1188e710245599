"""Subjects who have a label map of cortex and nuclei alone get the rest of another head."""

import numpy as np

from NNMambaBrainModels.heads.abagen_heads import compose, to_classes, warp
from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.head_model import HeadModel

CORTEX, WHITE, SKULL = GeneratorClass.CEREBRAL_CORTEX, GeneratorClass.CEREBRAL_WHITE_MATTER, GeneratorClass.SKULL


def test_regions_become_classes_with_their_side():
    classes, left = to_classes(np.array([0, 1, 34, 35, 41, 42, 75, 76, 82]))
    assert classes.tolist() == [
        GeneratorClass.AIR,
        CORTEX,
        CORTEX,
        GeneratorClass.THALAMUS,
        GeneratorClass.AMYGDALA,
        CORTEX,
        CORTEX,
        GeneratorClass.THALAMUS,
        GeneratorClass.AMYGDALA,
    ]
    assert left.tolist() == [False, True, True, True, True, False, False, False, False]


def test_named_voxels_stay_and_the_donor_fills_the_rest():
    named = np.array([[[0, CORTEX, 0, 0, 0, 0]]], np.uint8)
    donor = HeadModel(
        "donor",
        "somebody",
        classes=np.array([[[SKULL, SKULL, CORTEX, WHITE, WHITE, CORTEX]]], np.uint8),
        textures=np.zeros((1, 1, 6), np.uint8),
        left=np.array([[[False, False, True, True, True, True]]]),
    )
    classes, left = compose(named, np.zeros(named.shape, bool), donor)
    # The donor's own cortex, where the person has none, becomes what is nearest.
    assert classes.tolist() == [[[SKULL, CORTEX, WHITE, WHITE, WHITE, WHITE]]]
    assert left[0, 0].tolist() == [False, False, True, True, True, True]


def test_donor_is_brought_to_the_persons_size_and_place():
    def head(center: tuple[float, float, float], radius: float) -> np.ndarray:
        axes = np.meshgrid(*(np.arange(48) - c for c in center), indexing="ij")
        distance = np.sqrt(sum(a**2 for a in axes))
        classes = np.zeros((48, 48, 48), np.uint8)
        classes[distance < radius] = CORTEX
        classes[(distance < radius) & (axes[0] > radius / 3)] = GeneratorClass.PUTAMEN
        return classes

    subject, donor = head((24, 24, 24), 13), head((21, 26, 24), 11)
    warped = warp(HeadModel("donor", "somebody", donor, np.zeros_like(donor), left=donor > 0), subject)
    overlap = np.mean((warped.classes > 0)[subject > 0])
    assert overlap > 0.9
    assert np.mean((donor > 0)[subject > 0]) < 0.7
