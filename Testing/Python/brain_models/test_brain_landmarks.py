"""The bundled model brain-landmarks on the sample volume, whose subject it was not trained on, and on noise."""

import numpy as np
import pytest

from NNMambaBrainModels.brain_landmarks.evaluate import noise
from NNMambaBrainModels.brain_landmarks.revive_landmark import revive
from NNMambaLib.engine import Engine
from NNMambaLib.models.catalogue import bundled_folder, sample_volume
from NNMambaLib.volumes.files import read_volume

MODEL = bundled_folder() / "brain-landmarks"


@pytest.fixture(scope="module")
def found():
    result = Engine("cpu").detect_landmarks(read_volume(sample_volume()), MODEL)
    return {landmark.name: np.array(landmark.position) for landmark in result.landmarks if landmark.found}


def test_nearly_all_landmarks_of_a_head_are_found(found):
    assert len(found) >= 28


def test_they_lie_as_in_a_head(found):
    # Talairach and Tournoux: AC and PC are 20 to 32 mm apart in adults. LPS: left, posterior and superior grow.
    assert 20 < np.linalg.norm(found["AC"] - found["PC"]) < 32
    assert found["PC"][1] > found["AC"][1] > found["genu of CC"][1]
    assert found["PMJ"][2] < found["PC"][2]
    for structure in ("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala"):
        left, right = found[f"L {structure} centroid"], found[f"R {structure} centroid"]
        assert 5 < left[0] - right[0] < 90


def test_mirrored_axes_change_nothing(found):
    volume = read_volume(sample_volume()).reoriented("LPI")
    result = Engine("cpu").detect_landmarks(volume, MODEL)
    again = {landmark.name: np.array(landmark.position) for landmark in result.landmarks if landmark.found}
    both = again.keys() & found.keys()
    assert len(both) >= 26
    assert np.median([np.linalg.norm(again[name] - found[name]) for name in both]) < 1.5


def test_nothing_is_found_in_noise():
    result = Engine("cpu").detect_landmarks(noise(), MODEL, step=1.0)
    assert not any(landmark.found for landmark in result.landmarks)


def test_a_revived_output_is_random_and_the_others_stay():
    import torch

    state = {
        "conv8.conv.3.weight": torch.arange(4.0 * 27).reshape(4, 1, 3, 3, 3),
        "conv8.conv.4.weight": torch.zeros(4),
        "conv8.conv.4.bias": torch.ones(4),
    }
    before = {name: value.clone() for name, value in state.items()}
    revive(state, 2)
    for name, value in state.items():
        changed = [index for index in range(4) if not torch.equal(value[index], before[name][index])]
        assert changed == [2]
