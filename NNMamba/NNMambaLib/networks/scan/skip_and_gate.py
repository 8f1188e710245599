"""The steps around the recurrence of a selective scan, for backends that do not fuse them."""

from __future__ import annotations

import torch
from torch.nn import functional


def finish_delta(delta: torch.Tensor, delta_bias: torch.Tensor | None, delta_softplus: bool) -> torch.Tensor:
    """Return delta with its bias added and softplus applied."""
    if delta_bias is not None:
        delta = delta + delta_bias
    return functional.softplus(delta) if delta_softplus else delta


def finish_output(y: torch.Tensor, u: torch.Tensor, D: torch.Tensor | None, z: torch.Tensor | None) -> torch.Tensor:
    """Return the recurrence's output with the skip D u added and the gate SiLU(z) applied."""
    if D is not None:
        y = torch.addcmul(y, u, D)
    return y if z is None else y * functional.silu(z)
