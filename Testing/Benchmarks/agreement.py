"""Agreement of the networks' forms with the plain ones in float64, and of the labels that they give.

    python Testing/Benchmarks/agreement.py --size 64

Every variant with random weights on noise, and the bundled models on the sample volume, are computed in float64 as
trained, and in float32 in every form. Then the engine segments the sample volume with the network as trained and with
the form that it takes itself. Prints a Markdown table.
"""

import argparse
import sys

import measure as measuring
import numpy as np
import torch
from forms import FORMS, available_forms, random_volume
from part import Goal, Part, main, make_parser

from helpers.perturbed_networks import perturbed_network, random_network
from NNMambaLib.engine import Engine
from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.inference.preprocessing import prepare
from NNMambaLib.models.catalogue import bundled_packages, find_package, sample_volume
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.networks.variants import VARIANTS
from NNMambaLib.volumes.files import read_volume

DIFFERENCE = 2e-6  # of the largest output
SAME_LABELS = 99.999  # per cent of the voxels
MODEL = "brain-structures"
LIVELY = "lively weights"


class EngineAsTrained(Engine):
    """The engine with networks as they were trained, not folded for inference."""

    def network(self, package: ModelPackage, device: torch.device) -> torch.nn.Module:
        return package.load().to(device)


def sample_patch(package: ModelPackage) -> torch.Tensor:
    """Return the middle of the sample volume as a model takes it, (1, channel, z, y, x)."""
    specification = package.manifest.input
    prepared = prepare(read_volume(sample_volume()), specification)
    return torch.from_numpy(fit_to_patch(prepared.array, tuple(reversed(specification.patch))))[None]


@torch.inference_mode()
def differences(network: torch.nn.Module, x: torch.Tensor, forms) -> list[float]:
    """Return each form's largest difference from the network in float64, over its largest output."""
    set_scan_backend(network, "torch")
    expected = network.double()(x.double())
    network.float()
    return [measuring.largest_difference(form.of(network)(x), expected) for form in forms]


def same_labels(package: ModelPackage) -> tuple[int, int]:
    """Return how many voxels of the sample volume get the same label from both forms, and how many there are."""
    volume = read_volume(sample_volume())
    as_trained, folded = (
        engine.segment(volume, package).labels.array for engine in (EngineAsTrained("cpu"), Engine("cpu"))
    )
    return int(np.count_nonzero(as_trained == folded)), as_trained.size


def measure(options: argparse.Namespace) -> Part:
    forms, notes = available_forms(FORMS[1:])
    rows, worst = [], {}

    def add(kind: str, name: str, network: torch.nn.Module, x: torch.Tensor) -> None:
        found = differences(network, x, forms)
        rows.append([f"{name}, {kind}", *(f"{value:.1e}" for value in found)])
        for form, value in zip(forms, found, strict=True):
            key = f"{form.name}, {kind}"
            worst[key] = max(worst.get(key, 0.0), value)

    for variant in VARIANTS:
        x = random_volume((options.size,) * 3)
        add("random weights", variant, random_network(variant, 1, options.labels), x)
        add(LIVELY, variant, perturbed_network(variant, 1, options.labels), x)
    for package in bundled_packages():
        add("bundled weights", package.manifest.name, package.load(), sample_patch(package))
    goals = [
        Goal(f"{what}: difference from float64", value, DIFFERENCE, "", at_most=True)
        for what, value in worst.items()
        if LIVELY not in what
    ]
    same, voxels = same_labels(find_package(MODEL))
    as_trained = f"{MODEL}: voxels of the sample volume that get the label of the network as trained"
    goals.append(Goal(as_trained, 100 * same / voxels, SAME_LABELS, "%"))
    notes.append(f"{MODEL} on the sample volume: {voxels - same:,} of {voxels:,} voxels get another label.")
    return Part(
        "agreement",
        "Agreement with float64",
        f"Largest difference from the network as trained in float64, over its largest output. Random weights: noise of "
        f"{options.size}^3 voxels, {options.labels} outputs; lively ones make states and statistics vary so much that "
        "rounding is amplified, in every form alike. Bundled models: the middle of the sample volume.",
        ["network", *(form.name for form in forms)],
        rows,
        goals,
        notes=notes,
        data={"worst": worst, "same": same, "voxels": voxels},
    )


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--size", type=int, default=64, help="voxels along each axis, a multiple of 16 (64)")
    parser.add_argument("--labels", type=int, default=14, help="outputs (14)")
    sys.exit(main(parser.parse_args(), measure))
