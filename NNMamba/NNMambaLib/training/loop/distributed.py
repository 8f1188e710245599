"""Training in several processes, started by ``torchrun``; a single process needs none of this.

Tested on CPUs with gloo. The CUDA branches (nccl, one device a process) have not been run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

# The first process prepares data and validates while the others wait.
_PATIENCE = timedelta(hours=12)

T = TypeVar("T")


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that ``torchrun`` started until the block ends; do nothing in a single process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Convolutions of one voxel have gradients in another order than the weights: no error, torch says.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process: 0 for the first, and for a single one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def process_count() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wait_for_all() -> None:
    """Wait until every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def from_first(make: Callable[[], T]) -> T:
    """Return in every process what the first one makes; an error in the first ends all."""
    if not distributed.is_initialized():
        return make()
    content: list[Any] = [make() if rank() == 0 else None]
    distributed.broadcast_object_list(content)
    return content[0]


def mean_over_processes(value: float, device: torch.device) -> float:
    """Return the mean of a number that every process has."""
    if not distributed.is_initialized():
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return total.item() / process_count()
