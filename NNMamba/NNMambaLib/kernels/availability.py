"""Whether the kernels can be used: numba is optional, and everything has a slower form without it."""

from __future__ import annotations

import functools
from types import ModuleType


@functools.lru_cache(maxsize=1)
def unavailable_reason() -> str | None:
    """Return why the kernels cannot be used on this machine, None where they can."""
    try:
        import NNMambaLib.kernels.scan  # noqa: F401
    except ImportError as error:
        # An installed numba refuses to be imported beside a numpy that is newer than it knows.
        return f"numba cannot be imported ({error})"
    except RuntimeError as error:
        # Neither the package's folder nor the user's cache can be written.
        return f"numba has no place for what it compiles ({error}): set NUMBA_CACHE_DIR to a folder"
    return None


def label_kernels() -> ModuleType | None:
    """Return the module `kernels.labels`, or None where the kernels cannot be used."""
    if unavailable_reason() is not None:
        return None
    from NNMambaLib.kernels import labels

    return labels
