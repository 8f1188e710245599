"""Explanations: where the map lies, its sign, and that it costs the prediction nothing.

The classifier sees brightness alone: what it answers depends on one blob, whose place in the patient is known.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from helpers.phantoms import LANDMARKS, bright_points, grid_matrix, oblique_rotation, sample
from NNMambaLib.engine import Engine
from NNMambaLib.errors import Cancelled, MemoryPlanError, ModelError
from NNMambaLib.models.manifest import Normalization, Target
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.volume import Volume

_OBLIQUE = oblique_rotation()
# Orientation, spacing and voxels (z, y, x): all oblique, flipped and anisotropic; the model's patch is 32^3 at 3 mm.
_GRIDS = {
    "padded": ("LIP", (2.0, 3.5, 4.0), (18, 24, 40)),
    "cropped": ("PSL", (2.5, 2.0, 4.5), (30, 64, 50)),
    "left-handed": ("RPS", (4.0, 2.0, 3.0), (28, 48, 22)),
}
# At the spacing of the model.
_BLOB_VOXELS = 360


class SeesBrightness(nn.Module):
    """Two questions: a constant answer to the first, and to the second one that rises with what is bright."""

    def __init__(self, bias, slope):
        super().__init__()
        self.bias, self.slope = bias, slope

    def forward(self, x):
        bright = (x > 1.0).sum((1, 2, 3, 4)) / _BLOB_VOXELS
        return torch.stack([torch.zeros_like(bright), self.bias + self.slope * bright], 1)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    manifest = random_manifest("classification", outputs=2, base_width=2, patch=(32, 32, 32), spacing=(3, 3, 3))
    channel = replace(manifest.input.channels[0], normalization=Normalization("none"))
    targets = tuple(Target(name, ("no", "yes"), binary=True) for name in ("constant", "bright"))
    manifest = replace(manifest, input=replace(manifest.input, channels=(channel,)), targets=targets)
    return write_random_package(tmp_path_factory.mktemp("package"), manifest)


@pytest.fixture
def explained(package, monkeypatch):
    """Explain the second question with a network of given bias and slope."""

    def run(volume, bias=-3.0, slope=6.0, **options):
        monkeypatch.setattr(ModelPackage, "load", lambda self: SeesBrightness(bias, slope).eval())
        return Engine("cpu", "torch").classify(volume, package, explain="bright", **options)

    return run


def blob(grid="padded"):
    orientation, spacing, shape = _GRIDS[grid]
    points = sample(bright_points, shape, grid_matrix(orientation, spacing, shape, _OBLIQUE))
    return Volume(points.array[:1], points.matrix, "blob")


@pytest.mark.parametrize("grid", _GRIDS)
def test_map_is_highest_where_the_answer_comes_from(explained, grid):
    volume = blob(grid)
    result = explained(volume)
    explanation = result.explanation
    assert (explanation.target, explanation.predicted) == ("bright", "yes")
    assert explanation.volume.array.shape == volume.array.shape
    assert explanation.volume.array.dtype == np.float32
    assert np.array_equal(explanation.volume.matrix, volume.matrix)
    values = explanation.volume.array[0]
    high = np.argwhere(values > 0.7 * values.max())[:, ::-1]
    # The cells are 12 mm wide.
    assert np.linalg.norm(explanation.volume.grid.to_physical(high).mean(0) - LANDMARKS[0]) < 8
    peak = np.array(np.unravel_index(values.argmax(), values.shape))[::-1]
    assert np.linalg.norm(explanation.volume.grid.to_physical(peak[None])[0] - LANDMARKS[0]) < 15
    assert 0.1 < values.max() <= result.predictions[1].probabilities["yes"]


def test_map_is_zero_far_from_what_matters(explained):
    volume = blob()
    explanation = explained(volume).explanation.volume
    indices = np.argwhere(np.ones(volume.grid.shape, bool))[:, ::-1]
    far = np.linalg.norm(volume.grid.to_physical(indices) - LANDMARKS[0], axis=1) > 60
    assert far.sum() > 1000
    assert np.abs(explanation.array.ravel()[far]).max() == 0


def test_map_is_negative_where_the_region_speaks_against_the_class(explained):
    result = explained(blob(), bias=3.0, slope=-2.0)
    assert result.explanation.predicted == "yes"
    values = result.explanation.volume.array
    assert values.min() < -0.02
    assert values.max() == pytest.approx(0, abs=1e-6)


def test_value_of_a_cell_is_the_mean_fall_over_the_cuboids_that_hide_it(explained, package):
    """All of the blob in one voxel: it is hidden or it is not."""
    shape = (32, 32, 32)
    array = np.zeros((1, *shape), np.float32)
    # Within the cells 3, 4 and 5 along z, y and x; every cell there is hidden by eight cuboids, as all but the rim.
    array[0, 12:16, 16:20, 20:24] = 2
    matrix = np.diag([-3.0, -3.0, 3.0, 1.0])
    result = explained(Volume(array, matrix), bias=-3.0, slope=6 * _BLOB_VOXELS / 64)
    values = result.explanation.volume.array[0]
    p = result.predictions[1].probabilities["yes"]
    fall = p - 1 / (1 + np.exp(3))
    assert p == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)
    # Between cells the map is interpolated; the cells' centres lie between voxels.
    assert values[12:16, 16:20, 20:24].max() == pytest.approx(fall * (1 - 1 / 16) ** 3, rel=0.05)
    assert values.shape == shape
    at = np.unravel_index(values.argmax(), shape)
    assert all(first <= index < first + 4 for first, index in zip((12, 16, 20), at, strict=True))


def test_two_runs_give_the_same_map(explained):
    first, second = (explained(blob()).explanation.volume.array for _ in range(2))
    assert np.array_equal(first, second)


def test_predictions_are_those_without_an_explanation(explained, package):
    result = explained(blob())
    plain = Engine("cpu", "torch").classify(blob(), package)
    assert result.predictions == plain.predictions
    assert plain.explanation is None
    assert result.provenance.options == {"explain": "bright"}
    assert plain.provenance.options == {}


def test_explain_takes_the_first_question_by_itself(explained, package):
    explained(blob())
    explanation = Engine("cpu", "torch").explain(blob(), package).explanation
    assert explanation.target == "constant"
    assert not explanation.volume.array.any()
    assert Engine("cpu", "torch").explain(blob(), package, "bright").explanation.target == "bright"


def test_progress_counts_what_is_hidden_and_cancel_takes_effect_at_the_next(explained):
    events = []
    explained(blob(), on_progress=events.append)
    assert [event.done for event in events if event.stage == "Explaining"] == list(range(344))
    events.clear()
    with pytest.raises(Cancelled):
        explained(
            blob(), on_progress=events.append, is_cancelled=lambda: bool(events) and events[-1].stage == "Explaining"
        )
    assert (events[-1].stage, events[-1].done) == ("Explaining", 0)


def test_question_that_the_model_does_not_answer_is_refused(engine, package):
    with pytest.raises(ModelError, match=r"does not answer 'age': choose one of its questions \(constant, bright\)"):
        engine.classify(blob(), package, explain="age")


def test_memory_for_the_map_is_planned(engine, package, explained):
    """On a large input the map is what needs most."""
    large = Volume(np.zeros((1, 32, 128, 128), np.float32), np.diag([1.0, 1.0, 3.0, 1.0]), "large")
    large.array[:, 8:20] = 2
    needs = []
    explained(large, on_estimate=needs.append)
    assert needs[0].around >= 2 * large.array.nbytes
    with pytest.raises(MemoryPlanError):
        Engine("cpu", "torch", memory_limit=needs[0].total - 1).classify(large, package, explain="bright")
