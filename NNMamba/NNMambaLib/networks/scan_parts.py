"""What surrounds the recurrence of a selective scan, for backends that do not fuse it, and how its work is cut."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

# Channels a job that there are kernels for, widest first: the wider, the faster, and the fewer threads find work.
BLOCKS = (64, 32, 16)


def channels_per_job(channels: int, sequences: int) -> int:
    """Return the most channels a job, of `BLOCKS`, that leave no thread without work, else the fewest."""
    threads = torch.get_num_threads()
    return next((block for block in BLOCKS if sequences * (channels // block) >= threads), BLOCKS[-1])


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as the kernels take it: C-contiguous, in the tensor's own memory where that is so."""
    return tensor.detach().contiguous().numpy()


def exponents(A: torch.Tensor) -> torch.Tensor:
    """Return A log2(e), (N, E) of (E, N): exp(x) = 2^(x log2 e), laid out for reading a state's channels in a row."""
    return (A.detach().T.double() * math.log2(math.e)).float()


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
