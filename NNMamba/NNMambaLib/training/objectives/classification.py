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
    """Targets are int64 (T,): each one's class, -1 where it is unknown and ignored.

    They may also be float32 (sum of `classes`): each target's probabilities one after another, all zero where unknown.

    Attributes:
        network: its outputs are the logits, a target's classes one after another.
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
        """Nothing depends on how far training is."""

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
        """(batch, T) -> (batch, sum of classes), zero where a class is unknown."""
        columns = zip(classes.unbind(1), self.classes, strict=True)
        # One class more, for -1, is cut off.
        return torch.cat([functional.one_hot(c + 1, count + 1)[:, 1:] for c, count in columns], dim=1).float()
