"""Valid inputs that several families begin with; each is small, and the same in every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from NNMambaLib.models.manifest import Manifest
from NNMambaLib.support.random_package import random_manifest
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume


def volume() -> Volume:
    """Return 5 x 6 x 7 voxels (z, y, x), 1.5 x 1.2 x 2.5 mm, away from the origin."""
    voxels = np.arange(5 * 6 * 7, dtype=np.int16).reshape(1, 5, 6, 7)
    matrix = np.diag([1.5, 1.2, 2.5, 1.0])
    matrix[:3, 3] = (-10.0, 20.0, 30.0)
    return Volume(voxels, matrix, "sample")


def write_volumes(folder: Path, *endings: str) -> None:
    """Write the volume in formats of these endings, each in a folder of its own."""
    for number, ending in enumerate(endings):
        (folder / str(number)).mkdir()
        write_volume(volume(), folder / str(number) / f"volume{ending}")


def read_the_volume(folder: Path) -> None:
    """Read the only file of a folder as a volume."""
    (path,) = folder.iterdir()
    read_volume(path)


def manifest() -> Manifest:
    """Return the manifest of the smallest network."""
    return random_manifest("segmentation", base_width=4, outputs=3, patch=(32, 32, 32))
