"""The training of brain-scan-check and the bundled package."""

import numpy as np
import pytest
import torch

from NNMambaBrainModels.brain_scan_check.evaluate import NO_HUMAN_HEADS, ORDERS, SUBJECTS, noise, truth
from NNMambaBrainModels.brain_scan_check.package import PACKAGE, TARGETS, make_manifest
from NNMambaBrainModels.brain_scan_check.samples import CLASSES, UNDECIDED, UNKNOWN, probabilities
from NNMambaBrainModels.brain_scan_check.train import NETWORK, STAGES, ScanCheckObjective
from NNMambaBrainModels.heads.training_sources import TEMPLATE_SOURCES
from NNMambaLib.engine import Engine
from NNMambaLib.models.catalogue import find_package, sample_volume
from NNMambaLib.models.manifest_file import format_manifest, parse_manifest
from NNMambaLib.training.calibration import fit_temperature, scaled_probabilities
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.volume import Volume


def test_manifest_follows_the_schema_and_fits_the_networks_outputs():
    manifest = make_manifest(STAGES, (1.0, 1.1, 1.2, 1.3))
    parsed, _ = parse_manifest(format_manifest(manifest, "0" * 64))
    assert parsed == manifest
    assert tuple(len(target.classes) for target in manifest.targets) == CLASSES
    assert manifest.input.axes == "array"


def test_nobody_is_both_in_training_and_evaluation():
    held_out = {subject.source for subject in SUBJECTS} | set(NO_HUMAN_HEADS)
    assert not held_out & set(TEMPLATE_SOURCES)


def test_relu_leaks_at_first_and_is_plain_in_the_end():
    objective = ScanCheckObjective(NETWORK, CLASSES)
    network = objective.build_network()
    below = torch.tensor([-1.0])
    for done, expected in ((0.0, -1.0), (0.35, -0.5), (0.7, 0.0), (1.0, 0.0)):
        objective.prepare_step(network, done)
        assert network.mlp[1](below).item() == pytest.approx(expected)


def test_contrast_weighs_as_told_and_unknown_targets_nothing():
    outputs = torch.randn(6, sum(CLASSES), generator=torch.Generator().manual_seed(0))
    known = torch.stack([probabilities((0, 1, 2, contrast)) for contrast in (0, 1, 2, 3, UNKNOWN, UNDECIDED)])
    plain = ScanCheckObjective(NETWORK, CLASSES)
    assert plain.loss(outputs, known).item() == pytest.approx(super(type(plain), plain).loss(outputs, known).item())
    directions, contrast = known.clone(), known.clone()
    directions[:, -CLASSES[-1] :] = 0
    contrast[:, : -CLASSES[-1]] = 0
    expected = (18 * plain.loss(outputs, directions) + 4 * 5 * plain.loss(outputs, contrast)) / 38
    weighted = ScanCheckObjective(NETWORK, CLASSES, contrast_weight=4.0)
    assert weighted.loss(outputs, known).item() == pytest.approx(expected.item())


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5))
    cumulative = scaled_probabilities(logits, 1.7).cumsum(1)
    classes = (rng.random((4000, 1)) > cumulative).sum(1).clip(max=4)
    assert fit_temperature(logits, classes) == pytest.approx(1.7, rel=0.08)
    with pytest.raises(ValueError, match="no cases"):
        fit_temperature(logits[:0], classes[:0])


def test_orders_are_the_24_that_can_be_told_apart():
    answers = {tuple(truth(order, "T1-like")) for order in ORDERS}
    assert len(answers) == len(ORDERS) == 24
    assert truth("RAS", "T1-like") == ["left-or-right", "anterior", "superior", "T1-like"]


@pytest.mark.parametrize("orientation", ["LSA", "RAS", "PIR", "SLP"])
def test_bundled_model_tells_how_the_sample_volume_lies(orientation):
    volume = read_volume(sample_volume())
    assert volume.grid.orientation == "LSA"
    turned = volume.reoriented(orientation)
    # A header that says nothing: the answer must come from the voxels.
    matrix = np.diag([*turned.grid.spacing, 1.0])
    stored = Volume(np.ascontiguousarray(turned.array), matrix)
    package = find_package("brain-scan-check")
    assert package.path == PACKAGE
    predictions = Engine(device="cpu").classify(stored, package).predictions
    wanted = truth(orientation.replace("L", "R"), "T1-like")
    assert [prediction.target for prediction in predictions] == [name for name, _ in TARGETS]
    assert [prediction.predicted for prediction in predictions] == wanted


def test_bundled_model_is_unsure_of_noise():
    predictions = Engine(device="cpu").classify(noise(), find_package("brain-scan-check")).predictions
    assert all(max(prediction.probabilities.values()) < 0.5 for prediction in predictions)
