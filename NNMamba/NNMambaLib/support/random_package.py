"""Packages with random weights, for tests and benchmarks: they run like any other, and their results mean nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from NNMambaLib.inference.tasks import task_named
from NNMambaLib.models.manifest import (
    Channel,
    InputSpecification,
    Manifest,
    Normalization,
)
from NNMambaLib.models.package import ModelPackage, write_package
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import build, variant_for
from NNMambaLib.volumes.volume import Shape, Spacing


def random_manifest(
    task: str,
    variant: str | None = None,
    outputs: int = 4,
    base_width: int = 32,
    channels: int = 1,
    patch: Shape = (64, 64, 64),
    spacing: Spacing = (1.0, 1.0, 1.0),
) -> Manifest:
    """Return a manifest for random weights.

    Args:
        outputs: labels with background, landmarks, or classes.
        patch: voxels along (x, y, z).
        spacing: mm along (x, y, z).

    Raises:
        ModelError: if the variant is unknown or is not for this task.
    """
    kind = task_named(task)
    variant = variant_for(kind.whole_volume, variant)
    return Manifest(
        name=f"random-{variant.lower()}",
        version="0.0.0",
        title=f"Random weights, {variant}",
        description="Random weights for tests and benchmarks. The results mean nothing.",
        task=task,
        network=NetworkDescription(variant, channels, outputs, base_width),
        input=InputSpecification(
            channels=tuple(Channel(f"channel {n + 1}", Normalization("z-score")) for n in range(channels)),
            patch=patch,
            spacing=spacing,
            mirror_axes=("x", "y", "z") if kind.supported(mirror=True) else (),
        ),
        licence="Apache-2.0",
        intended_use="Tests and benchmarks only.",
        **kind.random_sections(outputs),
    )


def write_random_package(folder: str | Path, manifest: Manifest, seed: int = 0) -> ModelPackage:
    """Write a package of the manifest's network with random weights from a seed.

    BatchNorm's weights are random too, so that outputs vary from voxel to voxel.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(manifest.network)
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return write_package(folder, manifest, network)
