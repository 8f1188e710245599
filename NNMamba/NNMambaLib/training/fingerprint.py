"""What the cases of a training are like, in numbers: the ground on which its plan is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from NNMambaLib.training.data.coverage import CHANNELS
from NNMambaLib.training.data.survey import Survey
from NNMambaLib.volumes.volume import reoriented_grid

# The least, the median and the greatest of what was measured on the cases.
Range = tuple[float, float, float]


@dataclass(frozen=True)
class Learnt:
    """What is to be learnt, such as a label.

    Attributes:
        kind, name: as in `Task.names`.
        cases: that show it.
        ml: of a label, its volume; None elsewhere.
        thickness: of a label, mm, in the cases where it was measured, see `structures.thickness_mm`; None elsewhere.
    """

    kind: str
    name: str
    cases: int
    ml: Range | None = None
    thickness: Range | None = None


@dataclass(frozen=True)
class Fingerprint:
    """The facts about the cases of a training.

    Attributes:
        cases: their number.
        sizes, spacings: voxels and mm along each axis (x, y, z) of the model's orientation.
        intensities: of each channel, its percentiles 0.5, 50 and 99.5 where voxels show something.
        learnt: see `Learnt`.
        measured: cases in which the thickness of structures was measured.
    """

    cases: int
    sizes: tuple[Range, Range, Range]
    spacings: tuple[Range, Range, Range]
    intensities: tuple[Range, ...]
    learnt: tuple[Learnt, ...]
    measured: int


def make_fingerprint(survey: Survey, names: Mapping[str, Sequence[str]], orientation: str) -> Fingerprint:
    """Return what a survey found.

    Args:
        names: of what is learnt by kind, see `Task.names`.
        orientation: in which sizes and spacings are told.
    """
    grids = [reoriented_grid(grid, orientation) for grid in survey.grids]
    shown = Counter(item for items in survey.shown.values() for item in items)
    volumes: dict[str, list[float]] = {}
    depths: dict[str, list[float]] = {}
    for structure in (structure for case in survey.structures.values() for structure in case):
        volumes.setdefault(structure.name, []).append(structure.ml)
        if structure.thickness is not None:
            depths.setdefault(structure.name, []).append(structure.thickness)
    learnt = tuple(
        Learnt(kind, name, shown[kind, name], _range_or_none(volumes.get(name)), _range_or_none(depths.get(name)))
        for kind, entries in names.items()
        if kind != CHANNELS
        for name in entries
    )
    measured = sum(any(entry.thickness is not None for entry in case) for case in survey.structures.values())
    return Fingerprint(
        len(grids),
        _along_axes([grid.shape[::-1] for grid in grids]),
        _along_axes([grid.spacing for grid in grids]),
        tuple(_percentiles(values) for values in survey.intensities),
        learnt,
        measured,
    )


def _along_axes(values: Sequence[Sequence[float]]) -> tuple[Range, Range, Range]:
    x, y, z = (_range(column) for column in np.array(values, float).T)
    return x, y, z


def _range(values: Sequence[float] | np.ndarray) -> Range:
    return float(np.min(values)), float(np.median(values)), float(np.max(values))


def _range_or_none(values: Sequence[float] | None) -> Range | None:
    return _range(values) if values else None


def _percentiles(values: np.ndarray) -> Range:
    low, median, high = (float(value) for value in np.percentile(values, (0.5, 50, 99.5)))
    return low, median, high
