"""Classification: cross-entropy of one or several targets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import build


@dataclass(frozen=True)
class ClassificationObjective:
    """Learns the classes of T targets.

    A sample's target is int64 (T,), one class for each, -1 where it is unknown and thus ignored; or float32
    (sum of `classes`,), the probabilities of target after target, all zero where they are unknown.

    Attributes:
        network: its outputs are the logits, target after target.
        classes: number of classes of each target.
    """

    network: NetworkDescription
    classes: tuple[int, ...]

    def __post_init__(self) -> None:
        if sum(self.classes) != self.network.out_channels:
            raise ValueError(f"{self.network.out_channels} outputs cannot hold targets of {self.classes} classes.")

    def build_network(self) -> nn.Module:
        return build(self.network)

    def prepare_step(self, network: nn.Module, done: float) -> None:
        """Do nothing: the network stays the same throughout training."""

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy over the targets that are known."""
        if not target.is_floating_point():
            target = self._probabilities(target)
        pairs = list(zip(outputs.split(self.classes, dim=1), target.split(self.classes, dim=1), strict=True))
        nothing = outputs.new_zeros(())
        known = sum(((p.sum(1) > 0).sum() for _, p in pairs), start=nothing.long())
        total = sum((functional.cross_entropy(logits, p, reduction="sum") for logits, p in pairs), start=nothing)
        return total / known.clamp_min(1)

    def _probabilities(self, classes: torch.Tensor) -> torch.Tensor:
        """Return (batch, sum of classes) for classes (batch, T): one-hot, zero where a class is unknown."""
        columns = zip(classes.unbind(1), self.classes, strict=True)
        # Shifted by one, an unknown class (-1) takes the first column, which is cut off.
        return torch.cat([functional.one_hot(c + 1, count + 1)[:, 1:] for c, count in columns], dim=1).float()
