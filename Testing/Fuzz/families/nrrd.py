"""NRRD volumes."""

from __future__ import annotations

from pathlib import Path

from families import samples

feed = samples.read_the_volume


def seeds(folder: Path) -> None:
    """Write valid volumes, a folder each."""
    samples.write_volumes(folder, ".nrrd")
