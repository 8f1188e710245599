"""How the kernels' work is cut into blocks of channels, and the form in which they take tensors."""

from __future__ import annotations

import math

import numpy as np
import torch

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
