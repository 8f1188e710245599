"""Weights in safetensors; their digest is not looked at, as it would refuse every change."""

from __future__ import annotations

from pathlib import Path

from families import samples
from NNMambaLib.models.weights import network_from_bytes
from NNMambaLib.support.random_package import write_random_package


def seeds(folder: Path) -> None:
    """Write the weights of a small network."""
    write_random_package(folder / "package", samples.manifest())
    (folder / "0").mkdir()
    (folder / "package" / "weights.safetensors").rename(folder / "0" / "weights.safetensors")
    for rest in (folder / "package").iterdir():
        rest.unlink()
    (folder / "package").rmdir()


def feed(folder: Path) -> None:
    """Make the network of the weights."""
    network_from_bytes((folder / "weights.safetensors").read_bytes(), samples.manifest().network, "weights.safetensors")
