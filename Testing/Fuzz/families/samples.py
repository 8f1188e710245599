"""Valid inputs that several families begin with; each is small, and the same in every run."""

from __future__ import annotations

import numpy as np

from NNMambaLib.models.manifest import Manifest
from NNMambaLib.support.random_package import random_manifest
from NNMambaLib.volumes.volume import Volume


def volume() -> Volume:
    """Return 5 x 6 x 7 voxels (z, y, x), 1.5 x 1.2 x 2.5 mm, away from the origin."""
    voxels = np.arange(5 * 6 * 7, dtype=np.int16).reshape(1, 5, 6, 7)
    matrix = np.diag([1.5, 1.2, 2.5, 1.0])
    matrix[:3, 3] = (-10.0, 20.0, 30.0)
    return Volume(voxels, matrix, "sample")


def manifest() -> Manifest:
    """Return the manifest of the smallest network."""
    return random_manifest("segmentation", base_width=4, outputs=3, patch=(32, 32, 32))
