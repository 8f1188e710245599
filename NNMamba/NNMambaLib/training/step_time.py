"""How long a step takes on this machine, measured before a training is begun."""

from __future__ import annotations

import math
import time

import torch

from NNMambaLib.networks.description import SIZE_DIVISOR
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.training.objectives.objective import Objective
from NNMambaLib.training.plan import Plan

# Voxels along an axis of the patch that is timed: from here on the time grows with the voxels.
_TIMED = 3 * SIZE_DIVISOR
_STEPS = 2


def seconds_a_step(plan: Plan, objective: Objective, device: torch.device, backend: str) -> float:
    """Return the seconds that forward and backward pass of a step take, by a smaller patch of noise.

    Making samples, which other processes do meanwhile, the optimizer and validation come on top.

    Args:
        objective: of the plan's task and configuration; its loss is not computed, for that needs a target.
    """
    configuration = plan.configuration
    patch = [min(size, _TIMED) for size in configuration.patch_zyx]
    network = objective.build_network()
    set_scan_backend(network, backend)
    network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[reportCallIssue] # torch lacks it
    noise = torch.randn(configuration.batch_size, plan.network.in_channels, *patch, device=device)
    noise = noise.to(memory_format=torch.channels_last_3d)
    took = [_seconds(network.train(), noise, configuration.precision) for _ in range(1 + _STEPS)]
    # The first one compiles.
    return min(took[1:]) * math.prod(configuration.patch) / math.prod(patch)


def _seconds(network: torch.nn.Module, noise: torch.Tensor, precision: str) -> float:
    began = time.perf_counter()
    lower = precision != "float32"
    with torch.autocast(noise.device.type, getattr(torch, precision) if lower else None, enabled=lower):
        outputs = network(noise)
    parts = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    torch.stack([part.float().mean() for part in parts]).sum().backward()
    if noise.device.type == "cuda":
        torch.cuda.synchronize(noise.device)
    return time.perf_counter() - began
