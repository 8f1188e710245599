"""How the kernels' work is cut into blocks of channels, and the form in which they take tensors."""

from __future__ import annotations

import math

import numpy as np
import torch

# Channels of a job that there are kernels for, widest first: wider ones are faster and leave more threads without work.
BLOCKS = (64, 32, 16)


def channels_per_job(channels: int, sequences: int) -> int:
    """Return the widest of `BLOCKS` that leaves no thread without work, else the narrowest."""
    threads = torch.get_num_threads()
    return next((block for block in BLOCKS if sequences * (channels // block) >= threads), BLOCKS[-1])


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as the kernels take it: C-contiguous, and not copied where it is so already."""
    return tensor.detach().contiguous().numpy()


def exponents(A: torch.Tensor) -> torch.Tensor:
    """Return A log2(e), (N, E), for A (E, N): exp(x) = 2^(x log2 e), and the channels of a state lie in a row."""
    return (A.detach().T.double() * math.log2(math.e)).float()
