"""How OpenMP's threads, on which torch computes, wait for work."""

from __future__ import annotations

import os
from collections.abc import MutableMapping


def limit_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let idle threads of GNU's OpenMP library sleep sooner, in a process of our own before it imports torch.

    By default they spin for a while, and take that time from the threads on which numba's kernels run in between: some
    4 % of a forward pass on two cores. What the user has set stays; other libraries do not read this variable.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", "10000")
