"""Landmarks: one heatmap each, a Gaussian about the landmark, empty where it is not present."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import build
from NNMambaLib.training.objectives.objective import ends_in_relu, make_leaky, output_convolution, output_norm, set_leak


@dataclass(frozen=True)
class LandmarksObjective:
    """Learns K landmarks. A sample's target is float32 (K, 4): voxel index (x, y, z); 1 present, 0 absent, -1 unknown.

    Attributes:
        network: its outputs are the landmarks.
        sigma: of the Gaussian exp(-r^2 / (2 sigma^2)), in voxels.
        peak_weight: how much more the voxel at a landmark counts than an empty one; voxels in between in proportion to
            the Gaussian. Without it empty heatmaps score so well that training stays with them for long.
        weights: of each landmark's error; None weighs all alike. A landmark far from all others may need more.
        output_gain: scale at which the output's BatchNorm starts, or the weights of linear outputs: small, since
            heatmaps are empty nearly everywhere.
        leak, leak_until: slope below zero of the output's ReLU at the start, and the fraction of training after which
            it is 0.
    """

    network: NetworkDescription
    sigma: float = 3.0
    peak_weight: float = 0.0
    weights: tuple[float, ...] | None = None
    output_gain: float = 0.1
    leak: float = 0.2
    leak_until: float = 0.7

    def build_network(self) -> nn.Module:
        network = build(replace(self.network, head_channels=None))
        if ends_in_relu(network):
            nn.init.constant_(output_norm(network).weight, self.output_gain)
        else:
            output = output_convolution(network)
            assert output.bias is not None
            nn.init.zeros_(output.bias)
            with torch.no_grad():
                output.weight.mul_(self.output_gain)
        make_leaky(network)
        return network

    def prepare_step(self, network: nn.Module, done: float) -> None:
        set_leak(network, self.leak, self.leak_until, done)

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the weighted squared error, in units of a Gaussian's sum, averaged over the known landmarks.

        In these units a landmark that was missed costs the same in patches of any size: about 0.35 without
        `peak_weight`.
        """
        known = target[:, :, 3] >= 0
        wanted = heatmaps(target, outputs.shape[2:], self.sigma)
        error = ((outputs - wanted).square() * (1 + self.peak_weight * wanted)).sum((2, 3, 4))
        if self.weights is not None:
            error = error * torch.tensor(self.weights, device=error.device)
        mass = (2 * math.pi) ** 1.5 * self.sigma**3
        # Not error[known]: a batch without a known landmark must give zero, not the mean of nothing.
        return (error * known).sum() / (mass * known.sum().clamp_min(1))


def heatmaps(target: torch.Tensor, shape: Sequence[int], sigma: float) -> torch.Tensor:
    """Return float32 (batch, K, z, y, x) for targets (batch, K, 4): 1 at a landmark, empty where it is not present."""
    # A landmark that is not present may have no position (NaN).
    target, profiles = target.nan_to_num(), []
    for axis, size in zip((2, 1, 0), shape, strict=True):
        offsets = torch.arange(size, device=target.device) - target[:, :, axis, None]
        profiles.append(torch.exp(-offsets.square() / (2 * sigma**2)))
    z, y, x = profiles
    z = torch.where(target[:, :, 3, None] > 0, z, torch.zeros_like(z))
    return z[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]
