"""What `Trainer` asks of an objective."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from NNMambaLib.networks.description import NetworkDescription


class Objective(Protocol):
    """What is learnt.

    Attributes:
        network: the network that training ends with, as a model package describes it.
    """

    network: NetworkDescription

    def build_network(self) -> nn.Module:
        """Return a network to train, with fresh random weights; its names include all of those of `network`."""

    def prepare_step(self, network: nn.Module, done: float) -> None:
        """Change what depends on how far training is, `done` of 0..1, in a network that `build_network` made."""

    def loss(self, outputs: torch.Tensor | list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar, of the network's outputs (float32) for a batch of targets."""
