"""The memory that a training needs at the very least, checked before anything is made for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from NNMambaLib.errors import TrainingError
from NNMambaLib.inference.memory_plan import RunSizes, network_bytes, usable_memory
from NNMambaLib.inference.preprocessing import place
from NNMambaLib.models.manifest import InputSpecification
from NNMambaLib.models.weights import number_count
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.runtime.units import format_bytes
from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.volumes.volume import Grid

_FLOAT = 4
# Weights, their average, gradients, and the optimizer's two moments (one with SGD).
_COPIES = {"adamw": 5, "sgd": 4}


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


def check_step_memory(configuration: ResolvedConfiguration, network: NetworkDescription, device: torch.device) -> None:
    """Refuse settings of which a single step does not fit the device's memory.

    A step holds more than what is counted here, so that what passes may still be too large.

    Raises:
        TrainingError: naming what a step needs at least.
    """
    free = usable_memory(device).bytes
    forward = network_bytes(network, configuration.patch_zyx, device)
    weights = _COPIES[configuration.optimizer] * _FLOAT * number_count(network)
    needed = configuration.batch_size * forward + weights
    if needed > free:
        patch = "x".join(str(size) for size in configuration.patch)
        raise TrainingError(
            f"A step with batch_size {configuration.batch_size}, patch {patch} and base_width "
            f"{configuration.base_width} needs at least {format_bytes(needed)} of memory where {format_bytes(free)} "
            f"can be used on {device}: make one of them smaller."
        )
