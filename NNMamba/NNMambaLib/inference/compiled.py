"""The compiled kernels, where there are any: numba is optional, and everything has a slower form without it."""

from __future__ import annotations

from types import ModuleType

from NNMambaLib.networks.scan_numba import unavailable_reason


def kernels() -> ModuleType | None:
    """Return `numba_kernels`, or None where numba cannot be imported."""
    if unavailable_reason() is not None:
        return None
    from NNMambaLib.inference import numba_kernels

    return numba_kernels


def split(count: int, least: int = 1) -> list[tuple[int, int]]:
    """Return 0..count in parts (first, last) for `networks.threads.for_each`: even, and of `least` or more."""
    parts = max(1, min(_PARTS, count // least))
    return [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


# Enough that threads which are held up leave little for the others to wait for.
_PARTS = 16
