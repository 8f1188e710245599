"""What `Trainer` asks of an objective, and the last ReLU of an encoder-decoder, which leaks while it is trained."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from NNMambaLib.networks.description import NetworkDescription


class Objective(Protocol):
    """What is learnt."""

    @property
    def network(self) -> NetworkDescription:
        """The network that training ends with, as a model package describes it."""
        ...

    def build_network(self) -> nn.Module:
        """Return a network to train, with fresh random weights; its names include all of those of `network`."""
        ...

    def prepare_step(self, network: nn.Module, done: float) -> None:
        """Change what depends on how far training is, `done` of 0..1, in a network that `build_network` made."""
        ...

    def loss(self, outputs: Any, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar, of a batch.

        Args:
            outputs: float32, as the network returns them: a tensor, or a list with the heads of deep supervision.
            target: the batch of targets.
        """
        ...


def make_leaky(network: nn.Module) -> None:
    """Let the network's last rectifier leak; `set_leak` says how much."""
    network.conv8.conv[-1] = nn.LeakyReLU(0.0)


def set_leak(network: nn.Module, leak: float, until: float, done: float) -> None:
    """Set the rectifier's slope below zero: from `leak` linearly to none at `until`, when training is at `done`."""
    network.conv8.conv[-1].negative_slope = leak * max(0.0, 1 - done / until)
