"""NRRD volumes."""

from __future__ import annotations

from pathlib import Path

from families import samples
from NNMambaLib.volumes.files import read_volume, write_volume


def seeds(folder: Path) -> None:
    """Write valid volumes, a folder each."""
    for number, ending in enumerate((".nrrd",)):
        (folder / str(number)).mkdir()
        write_volume(samples.volume(), folder / str(number) / f"volume{ending}")


def feed(folder: Path) -> None:
    """Read the volume."""
    (path,) = folder.iterdir()
    read_volume(path)
