"""The size and the thickness of labeled structures: what is thinner than two voxels is lost when it is resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, maximum_filter

from NNMambaLib.volumes.volume import Grid

_MM3_OF_ML = 1000


@dataclass(frozen=True)
class Structure:
    """A label in a case.

    Attributes:
        name: the label's.
        ml: its volume.
        thickness: mm, see `thickness_mm`; None where it was not measured.
    """

    name: str
    ml: float
    thickness: float | None


def measure_structures(labels: np.ndarray, names: Sequence[str], grid: Grid, thickness: bool) -> tuple[Structure, ...]:
    """Return the structures that a label volume shows.

    Args:
        labels: (z, y, x), whole numbers from 0 on; `names` are those of 1, 2, ...
        grid: on which they lie.
        thickness: measure it, too, which takes a while for each structure.
    """
    labels = labels.astype(np.int32)
    counts = np.bincount(labels.ravel(), minlength=len(names) + 1)
    boxes = find_objects(labels, len(names)) if thickness else [None] * len(names)
    x, y, z = grid.spacing
    found = []
    for value, (name, box) in enumerate(zip(names, boxes, strict=True), start=1):
        if counts[value]:
            thick = None if box is None else thickness_mm(labels[box] == value, (z, y, x))
            found.append(Structure(name, float(counts[value] * grid.voxel_volume / _MM3_OF_ML), thick))
    return tuple(found)


def thickness_mm(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """Return how thick a structure typically is: twice the median depth of its middle, to within half a voxel.

    The middle are the voxels that lie deeper than their neighbors, or as deep: the middle surface of a sheet, the axis
    of a tube, the center of a ball.

    Args:
        mask: (z, y, x), with at least one voxel; what is beyond its border counts as outside.
        spacing: mm along (z, y, x).
    """
    depth = np.asarray(distance_transform_edt(np.pad(mask, 1), sampling=spacing))
    middle = (depth > 0) & (depth >= maximum_filter(depth, 3))
    # Depths are measured to the centers of the voxels outside, half a voxel or a whole one beyond the surface.
    return float(2 * np.median(depth[middle]) - min(spacing) / 2)
