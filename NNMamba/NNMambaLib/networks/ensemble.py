"""Several networks of one kind that answer as one, such as those of a cross-validation's folds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Ensemble(nn.Module):
    """The mean of several networks' answers.

    Args:
        members: the networks.
        averages: ``logits``: of their outputs; or ``probabilities``: of the softmax over their outputs, whose logarithm
            is then the output, so that the softmax of that is the mean.
    """

    def __init__(self, members: Sequence[nn.Module], averages: str):
        super().__init__()
        self.members, self.averages = nn.ModuleList(members), averages

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return outputs of the shape that a member has; in evaluation mode."""
        total: torch.Tensor | None = None
        for member in self.members:
            y = member(x)
            if self.averages == "probabilities":
                y = torch.softmax(y, 1)
            total = y if total is None else total + y
        assert total is not None, "an ensemble has members"
        mean = total / len(self.members)
        return torch.log(mean) if self.averages == "probabilities" else mean
