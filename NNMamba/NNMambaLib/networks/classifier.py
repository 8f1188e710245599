"""The classifier of nnMamba: from a volume to logits."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.encoder import Encoder, MambaFactory


class Classifier(Encoder):
    """Encoder, global average pooling and a two-layer perceptron.

    Args:
        in_channels, base_width, stem_mamba: see `Encoder`.
        out_channels: logits (K).
        pool_all_stages: pool c2, c3 and c4 (14C features) and not c4 alone (8C).
        sequence_mamba: makes the Mamba block over the seven groups of 2C pooled features, the paper's
            channel-sequential learning; needs `pool_all_stages`.
        dropout: probability of dropping a hidden feature in training.
        hidden: hidden units of the perceptron; None for C, as published.
        pool_largest: pool the largest value over the volume beside the mean (twice the features), so that what is
            small is not averaged away; not with `sequence_mamba`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        base_width: int = 32,
        stem_mamba: MambaFactory | None = None,
        pool_all_stages: bool = True,
        sequence_mamba: MambaFactory | None = None,
        dropout: float = 0.5,
        hidden: int | None = None,
        pool_largest: bool = False,
    ):
        super().__init__(in_channels, base_width, stem_mamba=stem_mamba)
        self.pool_all_stages = pool_all_stages
        self.mamba_seq = None
        if sequence_mamba is not None:
            # A sequence of one, because the authors' checkpoints name its weights mamba_seq.mamba.*
            self.mamba_seq = nn.Sequential(OrderedDict(mamba=sequence_mamba(2 * base_width)))
        self.pool_largest = pool_largest
        features = (14 if pool_all_stages else 8) * base_width * (2 if pool_largest else 1)
        hidden = base_width if hidden is None else hidden
        self.mlp = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, out_channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, K)."""
        _, c2, c3, c4 = self.encode(x)
        if not self.pool_all_stages:
            return self.mlp(self._pool(c4))
        pooled = [self._pool(c) for c in (c2, c3, c4)]
        if self.mamba_seq is None:
            return self.mlp(torch.cat(pooled, dim=1))
        width = pooled[0].shape[1]
        groups = functional.relu(torch.cat([p.view(len(p), width, -1) for p in pooled], dim=2))
        mixed = self.mamba_seq(groups.transpose(1, 2)).transpose(1, 2) + groups
        return self.mlp(mixed.flatten(1))

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        dtype = cast(nn.Linear, self.mlp[0]).weight.dtype
        mean = x.mean((2, 3, 4), dtype=dtype)
        return torch.cat([mean, x.amax((2, 3, 4)).to(dtype)], dim=1) if self.pool_largest else mean
