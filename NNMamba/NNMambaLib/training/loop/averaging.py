"""The moving average of a network's weights, and BatchNorm statistics that fit it."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from NNMambaLib.runtime.child_python import iterate_safely


@torch.no_grad()
def move_average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move a network's average, buffers included, towards the network; faster in the first steps.

    Args:
        decay: of the exponential moving average, per step.
        step: number of steps done, at least 1.
    """
    decay = min(decay, (1 + step) / (10 + step))
    # Parameters and buffers, not state_dict entries: a shared layer has two names and must move once.
    for mean, current in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(current, 1 - decay)
    for mean, current in zip(averaged.buffers(), network.buffers(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(current, 1 - decay)
        else:
            mean.copy_(current)


@torch.no_grad()
def recalibrate_batch_norm(network: nn.Module, loader: DataLoader) -> None:
    """Replace the running statistics of every BatchNorm by the plain mean over the batches of `loader`.

    The statistics collected in training belong to the trained weights, not to their average. The network is left in
    evaluation mode. `loader` gives pairs whose first part is the network's input.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    device = next(network.parameters()).device
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for intensity, _ in iterate_safely(loader):
        network(intensity.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        # A variance beyond float32 made the layer's output its shift alone, in training too: keep that, without NaN.
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.nan_to_num_()
        norm.running_var.nan_to_num_()
    network.eval()
