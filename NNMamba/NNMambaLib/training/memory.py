"""The memory that a training needs at the very least, checked before anything is made for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from NNMambaLib.errors import TrainingError
from NNMambaLib.inference.memory_plan import RunSizes, usable_memory
from NNMambaLib.inference.preprocessing import place
from NNMambaLib.models.manifest import InputSpecification
from NNMambaLib.models.weights import number_count
from NNMambaLib.networks.description import FULL_RESOLUTION_WIDTH, NetworkDescription
from NNMambaLib.runtime.units import format_bytes
from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.volumes.volume import Grid

_FLOAT = 4
# Weights, their average, gradients, and the optimizer's two moments (one with SGD).
_COPIES = {"adamw": 5, "sgd": 4}
# Numbers that autograd keeps of a voxel: for each channel after the stem, for each channel at full resolution, for each
# output of an encoder-decoder (those that are upsampled are kept before and after), and beside these.
_KEPT_A_CHANNEL = {
    "SEG-CSS": 9.8, "SEG-CSS-FULL": 8.8, "SEG-NNU": 4.9, "SEG-NNU2": 4.9, "V1-SEG": 4.0, "V1-LAND": 5.7,
    "CLS": 4.1, "CLS-MAX": 4.1, "CLS-SEQ": 4.1, "V1-CLS": 3.5,
}  # fmt: skip
_KEPT_AT_FULL_RESOLUTION, _KEPT_AN_OUTPUT, _KEPT_A_FULL_OUTPUT, _KEPT_BESIDE = 8.9, 7.4, 3.4, 3.0


def check_case_memory(grids: Sequence[Grid], specification: InputSpecification, network: NetworkDescription) -> None:
    """Refuse a spacing at which a volume does not fit the host's memory.

    Args:
        grids: of the volumes as they were read.

    Raises:
        TrainingError: naming the largest volume's size at that spacing.
    """
    free = usable_memory(torch.device("cpu")).bytes
    placements = [(grid, place(grid, specification)) for grid in grids]
    source, largest = max(placements, key=lambda placed: math.prod(placed[1].grid.shape))
    needed = RunSizes(network, source.shape, largest.grid.shape, largest.resampled).preparing_bytes
    if needed > free:
        size = "x".join(str(length) for length in reversed(largest.grid.shape))
        spacing = " x ".join(f"{step:g}" for step in specification.spacing or ())
        raise TrainingError(
            f"At a spacing of {spacing} mm the largest volume has {size} voxels, which take {format_bytes(needed)} of "
            f"memory where {format_bytes(free)} can be used: set a larger spacing."
        )


def step_bytes(configuration: ResolvedConfiguration, network: NetworkDescription) -> int:
    """Return what a step holds at the least: the weights with what belongs to them, and what gradients are made from.

    The latter were counted for all variants (widths 4 to 32, patches of 32 and 48 voxels, 2, 3 and 21 outputs), with
    `torch.autograd.graph.saved_tensors_hooks`; in half precision most of them take half.
    """
    floats = _KEPT_A_CHANNEL[network.variant] * network.base_width + _KEPT_BESIDE
    if network.is_full_resolution:
        floats += _KEPT_AT_FULL_RESOLUTION * min(network.base_width, FULL_RESOLUTION_WIDTH)
        floats += _KEPT_A_FULL_OUTPUT * network.out_channels
    elif not network.is_classifier:
        floats += _KEPT_AN_OUTPUT * network.out_channels
    width = _FLOAT if configuration.precision == "float32" else _FLOAT // 2
    samples = configuration.batch_size * math.prod(configuration.patch)
    return int(samples * floats * width) + _COPIES[configuration.optimizer] * _FLOAT * number_count(network)


def check_step_memory(configuration: ResolvedConfiguration, network: NetworkDescription, device: torch.device) -> None:
    """Refuse settings of which a single step does not fit the device's memory.

    A step holds more than what is counted here, so that what passes may still be too large.

    Raises:
        TrainingError: naming what a step needs at least.
    """
    free, needed = usable_memory(device).bytes, step_bytes(configuration, network)
    if needed > free:
        patch = "x".join(str(size) for size in configuration.patch)
        raise TrainingError(
            f"A step with batch_size {configuration.batch_size}, patch {patch} and base_width "
            f"{configuration.base_width} needs at least {format_bytes(needed)} of memory where {format_bytes(free)} "
            f"can be used on {device}: make one of them smaller."
        )
