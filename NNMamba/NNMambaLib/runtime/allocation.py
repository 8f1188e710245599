"""Keep freed memory while a network runs many times: fresh pages cost a CPU as much time as convolutions do."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt, and the values to which it adapts by itself where tensors are large.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_USUAL = {_TRIM_THRESHOLD: 64 * 2**20, _MMAP_THRESHOLD: 32 * 2**20}
_LARGEST = 2**31 - 1

_lock = threading.Lock()
_users = 0


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let the C library reuse large blocks while the context lasts; at its end they go back to the system.

    By default glibc asks the system for the memory of each large tensor, and the system zeroes every page of it. Other
    C libraries keep blocks by themselves, or cannot be told to; there, and for threads other than the main one, this
    changes nothing. glibc before 2.35 keeps blocks of up to 32 MiB only.
    """
    global _users
    library = _glibc()
    with _lock:
        _users += 1
        if _users == 1:
            _set(library, dict.fromkeys(_USUAL, _LARGEST))
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set(library, _USUAL)
                if library is not None:
                    library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _set(library: ctypes.CDLL | None, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        # Before 2.35 glibc refuses thresholds above the usual ones.
        if library is not None and not library.mallopt(parameter, value):
            library.mallopt(parameter, _USUAL[parameter])
