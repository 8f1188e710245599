"""The parameters of a Mamba block between in_proj and out_proj."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ScanParameters:
    """The parameters of a Mamba block between in_proj and out_proj, for E channels, N states, step sizes of rank R.

    Attributes:
        conv_weight: (E, taps), the last tap for the token itself.
        conv_bias: (E,).
        x_proj: (R + 2N, E), the rows dt, B, C.
        dt_weight: (E, R).
        dt_bias: (E,).
        A: (E, N), negative.
        D: (E,).
    """

    conv_weight: torch.Tensor
    conv_bias: torch.Tensor
    x_proj: torch.Tensor
    dt_weight: torch.Tensor
    dt_bias: torch.Tensor
    A: torch.Tensor
    D: torch.Tensor
