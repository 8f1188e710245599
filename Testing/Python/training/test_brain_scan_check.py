"""The brain-scan-check recipe and the package that it ends with."""

import numpy as np
import pytest
import torch

from NNMambaLib.models.manifest import format_manifest, parse_manifest
from NNMambaLib.training.calibration import fit_temperature, scaled_probabilities
from NNMambaLib.training.recipes.brain_scan_check import NETWORK, SETTINGS, TRAINING_SOURCES, ScanCheckObjective
from NNMambaLib.training.recipes.evaluate_brain_scan_check import NO_HUMAN_HEADS, ORDERS, PEOPLE, truth
from NNMambaLib.training.recipes.package_brain_scan_check import make_manifest
from NNMambaLib.training.scan_check_data import CLASSES


def test_manifest_follows_the_schema_and_fits_the_networks_outputs():
    manifest = make_manifest(SETTINGS, (1.0, 1.1, 1.2, 1.3))
    parsed, _ = parse_manifest(format_manifest(manifest, "0" * 64))
    assert parsed == manifest
    assert tuple(len(target.classes) for target in manifest.targets) == CLASSES
    assert manifest.input.axes == "array"


def test_nobody_is_both_in_training_and_evaluation():
    held_out = {person.source for person in PEOPLE} | set(NO_HUMAN_HEADS)
    assert not held_out & set(TRAINING_SOURCES)


def test_rectifier_leaks_at_first_and_is_plain_in_the_end():
    objective = ScanCheckObjective(NETWORK, CLASSES)
    network = objective.build_network()
    below = torch.tensor([-1.0])
    for done, expected in ((0.0, -1.0), (0.35, -0.5), (0.7, 0.0), (1.0, 0.0)):
        objective.prepare_step(network, done)
        assert network.mlp[1](below).item() == pytest.approx(expected)


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
