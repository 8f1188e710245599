"""Manifests of packages, model.json."""

from __future__ import annotations

from pathlib import Path

from families import samples
from NNMambaLib.models.package import open_package
from NNMambaLib.support.random_package import write_random_package


def seeds(folder: Path) -> None:
    """Write a package with a manifest to change."""
    package = write_random_package(folder / "0", samples.manifest())
    (package.path / "weights.safetensors").write_bytes(b"not read")


def changeable(name: str) -> bool:
    """Return whether this file is to be changed."""
    return name == "model.json"


def feed(folder: Path) -> None:
    """Read the manifest."""
    open_package(folder)
