"""The pool of threads on which kernels that release the interpreter lock run.

It has as many threads as torch uses (``torch.set_num_threads``): two pools that each take all cores slow each other
down many times over. It belongs to the process; its threads are started when first needed and wait between calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

# Enough that a thread that is held up leaves the others little to wait for.
_PARTS = 16


def for_each(run: Callable[..., None], jobs: Sequence[tuple]) -> None:
    """Call ``run(*job)`` for each job, on at most as many threads as torch uses; return when all are done.

    Jobs start in their order, in the calling thread where one suffices. `run` must not itself call `for_each`: all
    threads of the pool might then wait for one that never comes free.

    Raises:
        Exception: that of the first failed job in their order, once none is running any more.
    """
    threads = min(torch.get_num_threads(), len(jobs))
    if threads <= 1:
        for job in jobs:
            run(*job)
        return
    futures = [_pool(threads).submit(run, *job) for job in jobs]
    errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error


@functools.lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="nnmamba")


def split(count: int, least: int = 1) -> list[tuple[int, int]]:
    """Return 0..count in even parts (first, last) of at least `least`, as jobs for `for_each`."""
    parts = max(1, min(_PARTS, count // least))
    return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]
