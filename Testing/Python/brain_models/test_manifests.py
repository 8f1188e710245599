"""The manifests that the bundled models are packaged with."""

import pytest

from NNMambaBrainModels.brain_landmarks import package as landmarks_package
from NNMambaBrainModels.brain_structures import package as structures_package
from NNMambaBrainModels.heads.held_out import HELD_OUT
from NNMambaBrainModels.heads.landmark_set import LANDMARKS
from NNMambaBrainModels.heads.structure_labels import StructureLabel
from NNMambaBrainModels.heads.training_sources import TRAINING_SOURCES
from NNMambaLib.models.manifest import HeatmapDecoding
from NNMambaLib.models.manifest_file import format_manifest, parse_manifest

STRUCTURES = structures_package.make_manifest(10)
LANDMARK_MODEL = landmarks_package.make_manifest(10, HeatmapDecoding(10.0, -3.0))


@pytest.mark.parametrize("manifest", [STRUCTURES, LANDMARK_MODEL], ids=lambda manifest: manifest.name)
def test_manifest_follows_the_schema_and_survives_its_file(manifest):
    parsed, _ = parse_manifest(format_manifest(manifest, "0" * 64))
    assert parsed == manifest


def test_every_structure_has_a_name_a_code_and_its_side():
    assert [label.value for label in STRUCTURES.labels] == [int(label) for label in StructureLabel if label]
    assert all(label.terminology.type.scheme == "SCT" for label in STRUCTURES.labels)
    sides = {label.name: label.terminology.modifier for label in STRUCTURES.labels}
    assert sides["Left putamen"].meaning == "Left"
    assert sides["Right putamen"].meaning == "Right"
    assert sides["Brainstem"] is None


def test_landmarks_are_those_of_the_protocol_in_the_networks_order():
    assert LANDMARK_MODEL.landmarks == LANDMARKS
    assert [landmark.name for landmark in LANDMARK_MODEL.landmarks[:2]] == ["AC", "PC"]


def test_nobody_is_both_in_training_and_evaluation():
    held_out = {source for head in HELD_OUT for source in (head.volume, head.mask)}
    assert not held_out & set(TRAINING_SOURCES)


def test_the_t2_weighted_average_is_kept_out_of_the_landmarks():
    files = [entry["file"] for entry in LANDMARK_MODEL.provenance["training_data"]]
    assert any("T1w" in name for name in files)
    assert not any("T2w" in name for name in files)
