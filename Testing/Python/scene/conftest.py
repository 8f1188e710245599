"""Results with every trait that a scene or a file must keep: oblique grids, empty labels, landmarks not found."""

import numpy as np
import pytest

from helpers.scene_checks import oblique_matrix
from NNMambaLib.models.manifest import Code, Label, Terminology
from NNMambaLib.results import (
    ClassificationResult,
    Landmark,
    LandmarksResult,
    Prediction,
    Provenance,
    SegmentationResult,
)
from NNMambaLib.volumes.volume import Volume

TISSUE = Code("SCT", "85756007", "Tissue")
STRUCTURE = Code("SCT", "123037004", "Anatomical Structure")


@pytest.fixture
def volume():
    """An asymmetric pattern: no flip or swap of axes maps it to itself."""
    array = np.zeros((1, 12, 15, 18), np.int16)
    array[0, 2:5, 3:9, 4:6] = 300
    array[0, 9, 12, 15] = -77
    array[0, 1, 13, 2] = 1234
    return Volume(array, oblique_matrix(), "head")


@pytest.fixture
def provenance():
    return Provenance(
        model="brain",
        model_version="1.2.0",
        weights_sha256="ab" * 32,
        engine_version="0.1.0",
        device="cpu",
        scan_backend="numba",
        options={"mirror": ["x"], "step": 0.5},
        started="2026-01-02T03:04:05+00:00",
        seconds={"network": 1.5, "total": 2.0},
        notices=("T1 was resampled to the grid of FLAIR",),
    )


@pytest.fixture
def segmentation(volume, provenance):
    array = np.zeros(volume.array.shape, np.uint8)
    array[0, 2:8, 3:10, 4:12] = 1
    array[0, 4:6, 5:8, 6:9] = 3
    labels = (
        Label(1, "White matter", (245, 245, 220), Terminology(TISSUE, Code("SCT", "389081007", "White matter"))),
        Label(2, "Écorce: left & right", (10, 200, 30)),
        Label(
            3,
            "Left thalamus",
            (0, 118, 14),
            Terminology(STRUCTURE, Code("SCT", "42695009", "Thalamus"), Code("SCT", "7771000", "Left")),
        ),
    )
    volumes = {label.name: float((array == label.value).sum()) * volume.grid.voxel_volume / 1000 for label in labels}
    return SegmentationResult(Volume(array, volume.matrix, "labels"), labels, volumes, provenance)


@pytest.fixture
def landmarks(provenance):
    return LandmarksResult(
        (
            Landmark("Anterior commissure", "where the commissure crosses the midline", (1.25, -2.5, 33.75), 0.97),
            Landmark("Left orbit", "centre of the eyeball", None, 0.08),
            Landmark("Nasion", "“root” of the nose", (-31.5, 47.25, 112.125), 0.6),
        ),
        provenance,
    )


@pytest.fixture
def classification(provenance):
    return ClassificationResult(
        (
            Prediction("Diagnosis", {"control": 0.25, "impaired": 0.7, "dementia": 0.05}, "impaired"),
            Prediction("Sex", {"male": 0.4, "female": 0.6}, "female"),
        ),
        provenance,
    )


@pytest.fixture
def scene():
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from NNMambaLib.scene.headless import headless_scene

    with headless_scene() as scene:
        yield scene
