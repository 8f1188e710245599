"""An imported model answers as its network does, through the engine and the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.perturbed_networks import random_network
from NNMambaLib import cli
from NNMambaLib.engine import Engine
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.volumes.files import write_volume
from NNMambaLib.volumes.volume import Volume

_WIDTH = 2


def imported(tmp_path, network, *options):
    torch.save({"state_dict": network.state_dict()}, tmp_path / "best.pth")
    assert cli.main(["models", "import", str(tmp_path / "best.pth"), "--name", "imported", *options]) == 0
    return find_package("imported")


def oblique_volume(channels, shape=(16, 16, 16), spacing=1.0):
    """Return random intensities on a grid whose axes are turned."""
    turn = np.array([[0, -0.8, 0.6], [1, 0, 0], [0, 0.6, 0.8]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * spacing
    values = np.random.default_rng(0).normal(size=(channels, *shape)).astype(np.float32)
    return Volume(values, matrix)


def test_a_segmentation_is_that_of_the_network_on_the_axes_as_they_are_stored(tmp_path):
    network = random_network("SEG-NNU", 2, 3, _WIDTH)
    options = ["--spacing", "1", "1", "1", "--normalization", "none", "--patch", "16", "16", "16"]
    package = imported(tmp_path, network, *options)
    volume = oblique_volume(2)
    with torch.inference_mode():
        expected = network(torch.from_numpy(volume.array)[None])[0].argmax(0)
    labels = Engine(device="cpu").segment(volume, package).labels.array[0]
    assert (labels == expected.numpy()).mean() > 0.9999
    for channel in range(2):
        write_volume(Volume(volume.array[channel][None], volume.matrix), tmp_path / f"{channel}.nii.gz")
    command = ["segment", "--model", "imported", str(tmp_path / "0.nii.gz"), str(tmp_path / "1.nii.gz")]
    assert cli.main([*command, "--output", str(tmp_path / "labels.nrrd"), "--device", "cpu"]) == 0


@pytest.mark.parametrize("variant", ["CLS", "CLS-SEQ"])
def test_a_classification_is_that_of_the_network(tmp_path, variant):
    network = random_network(variant, 1, 1, _WIDTH)
    package = imported(tmp_path, network, "--preset", "adni-nc-ad")
    # The size of the preset is that of a head: a smaller one is enough to compare.
    package = replace(
        package, manifest=replace(package.manifest, input=replace(package.manifest.input, patch=(18, 16, 20)))
    )
    volume = oblique_volume(1, (20, 16, 18), 1.5)
    with torch.inference_mode():
        logit = network(torch.from_numpy(volume.array)[None]).item()
    (prediction,) = Engine(device="cpu").classify(volume, package).predictions
    assert prediction.probabilities["AD"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


def test_the_report_says_what_was_found(tmp_path):
    network = random_network("SEG-NNU2", 1, 16, _WIDTH)
    torch.save({"network_weights": network.state_dict()}, tmp_path / "best.pth")
    options = ["--spacing", "1.5", "1.5", "5", "--ct", "-160", "240", "50", "70", "--json", str(tmp_path / "r.json")]
    assert cli.main(["models", "import", str(tmp_path / "best.pth"), "--name", "imported", *options]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["found"][0] == "a PyTorch file, its weights under network_weights"
    assert report["found"][1].startswith("the network SEG-NNU2 (")
    assert find_package("imported").manifest.input.spacing == (1.5, 1.5, 5.0)
