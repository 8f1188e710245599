"""Manifests of installed models, each parsed once until its file changes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from NNMambaLib.models.manifest import Manifest
from NNMambaLib.models.package import MANIFEST_FILE, open_package


def installed_manifest(path: Path) -> Manifest:
    """Return the manifest of a package: a folder or zip file.

    Raises:
        ModelError: if the package cannot be opened or its manifest is wrong.
    """
    file = path / MANIFEST_FILE if path.is_dir() else path
    if not file.exists():
        return open_package(path).manifest
    state = file.stat()
    return _manifest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _manifest(path: Path, modified: int, size: int) -> Manifest:
    return open_package(path).manifest
