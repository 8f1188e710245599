"""Whether the kernels can be used: numba is optional, and everything has a slower form without it."""

from __future__ import annotations

import functools
import pickletools
import sys
from pathlib import Path
from types import ModuleType


@functools.lru_cache(maxsize=1)
def unavailable_reason() -> str | None:
    """Return why the kernels cannot be used on this machine, None where they can."""
    try:
        from NNMambaLib.kernels.scan import SCANS
    except ImportError as error:
        # An installed numba refuses to be imported beside a numpy that is newer than it knows.
        return f"numba cannot be imported ({error})"
    except RuntimeError as error:
        # Neither the package's folder nor the user's cache can be written.
        return f"numba has no place for what it compiles ({error}): set NUMBA_CACHE_DIR to a folder"
    # All kernels are cached in one folder.
    damaged = _damaged(Path(next(iter(SCANS.values())).stats.cache_path))
    if damaged is not None:
        return f"numba's cache of compiled kernels is damaged ({damaged.name}): remove the folder {damaged.parent}"
    return None


def _damaged(folder: Path) -> Path | None:
    """Return a file of numba's cache that is cut short or overwritten: numba would raise when it loads it."""
    version = f".py{sys.version_info.major}{sys.version_info.minor}."
    for path in sorted(folder.glob("*.nb[ic]")) if folder.is_dir() else []:
        if version not in path.name:
            continue
        try:
            with path.open("rb") as file:
                # An index is the version of numba and what it lists, code is one object; nothing is run here.
                for _ in range(2 if path.suffix == ".nbi" else 1):
                    for _ in pickletools.genops(file):
                        pass
        except ValueError:
            return path
        except OSError:
            # numba compiles what it cannot open.
            continue
    return None


def label_kernels() -> ModuleType | None:
    """Return the module `kernels.labels`, or None where the kernels cannot be used."""
    if unavailable_reason() is not None:
        return None
    from NNMambaLib.kernels import labels

    return labels
