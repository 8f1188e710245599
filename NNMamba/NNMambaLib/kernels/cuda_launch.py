"""Launching CUDA kernels on torch's tensors: their own memory, their device, and the stream torch works on.

In numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) the tensors are the CPU's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numba import cuda

from NNMambaLib.kernels.cuda_arithmetic import SIMULATED

# Small volumes give small grids, which is no fault of the caller's.
cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0


def launch(kernel: Any, blocks: int | Sequence[int], threads: int, *arguments: Any) -> None:
    """Launch a kernel; tensors among the arguments, all on one device, are handed over as arrays without a copy.

    Args:
        kernel: compiled by ``cuda.jit``.
        blocks: of the grid, along x, y and z; threads: of a block.

    Raises:
        ValueError: if a tensor is not contiguous.
    """
    device = next(value.device for value in arguments if isinstance(value, torch.Tensor))
    with ExitStack() as stack:
        stream: Any = 0
        if not SIMULATED:
            stack.enter_context(torch.cuda.device(device))
            stack.enter_context(cuda.gpus[torch.cuda.current_device()])
            stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
        values = [_as_array(value) if isinstance(value, torch.Tensor) else value for value in arguments]
        kernel[blocks if isinstance(blocks, int) else tuple(blocks), threads, stream](*values)


def multiprocessors(device: torch.device) -> int:
    """Return the number of a GPU's multiprocessors; 1 in the simulator."""
    return 1 if SIMULATED else torch.cuda.get_device_properties(device).multi_processor_count


def blocks_for(count: int, size: int) -> int:
    """Return how many blocks of `size` take in `count`."""
    return math.ceil(count / size)


def _as_array(tensor: torch.Tensor) -> Any:
    if not tensor.is_contiguous():
        raise ValueError(f"A kernel takes contiguous tensors, and one of shape {tuple(tensor.shape)} is not.")
    tensor = tensor.detach()
    # Neither NumPy nor the interface of CUDA arrays has bfloat16: kernels take its bits.
    bits = tensor.dtype == torch.bfloat16
    if bits:
        tensor = tensor.view(torch.int16)
    array = tensor.numpy() if SIMULATED else cuda.as_cuda_array(tensor)
    return array.view(np.uint16) if bits else array
