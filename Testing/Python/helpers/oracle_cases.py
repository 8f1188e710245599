"""The cases that stock nnunetv2 has predicted: plans, networks and a volume, all made from seeds."""

from pathlib import Path

import numpy as np
import torch

from helpers.nnunet_folders import write_v2_folder
from helpers.nnunet_reference import Plans
from helpers.perturbed_networks import random_network

SPACING = (1.0, 1.4, 4.5)
"""Of the volume, along (z, y, x)."""
STORED = Path(__file__).parents[2] / "Oracles" / "nnunet_v2.npz"

# By name: plans, folds, and whether outputs are averaged over mirrored copies.
CASES = {
    "anisotropic": (Plans(2, (3.0, 1.1, 1.2), (16, 16, 16), ("z-score", "CT"), (True, False), (2, 0, 1)), 1, False),
    "three-folds": (Plans(2, (1.5, 1.2, 1.6), (16, 16, 16), ("CT", "z-score"), (True, True)), 3, True),
    "planes": (Plans(2, (1.0, 1.4, 5.0), (16, 16, 16), ("none", "z-score"), (False, False), (1, 0, 2)), 1, False),
}


def networks(count):
    """Return networks whose outputs vary as much as one another, so that each label is found somewhere."""
    found = []
    for seed in range(count):
        network = random_network("SEG-NNU", 2, 4, base_width=2, seed=seed)
        last = network.conv8.conv[4]
        torch.nn.init.ones_(last.weight)
        torch.nn.init.ones_(last.bias)
        last.momentum = 1.0
        last.train()
        with torch.no_grad():
            network(torch.randn(1, 2, 32, 32, 32))
        found.append(network.eval())
    return found


def array():
    """Return random intensities (2, z, y, x) in a box of zeros, with a hole in it."""
    values = np.zeros((2, 18, 22, 20), np.float32)
    values[:, 2:16, 3:20, 1:17] = np.random.default_rng(0).normal(20, 40, (2, 14, 17, 16))
    values[:, 8:10, 8:11, 8:11] = 0
    return values


def write_folder(folder, name):
    """Write a case's result folder; return whether it is mirrored."""
    plans, folds, mirror = CASES[name]
    write_v2_folder(folder, networks(folds), plans)
    return mirror


def fingerprint():
    """Return sums that are others where a version of numpy or torch draws other numbers from the seeds."""
    weights = [sum(value.abs().sum().item() for value in network.parameters()) for network in networks(3)]
    return np.array([float(np.abs(array()).sum(dtype=float)), *weights])
