"""A survey of the data: every volume is read and checked once, before anything is made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.training.data.case import Case, read_case
from NNMambaLib.training.data.coverage import Item, Shown
from NNMambaLib.training.data.faults import Faults
from NNMambaLib.training.data.outliers import outlier_notice
from NNMambaLib.training.data.structures import Structure
from NNMambaLib.volumes.volume import Grid, Volume

_KEPT = 5000


@dataclass(frozen=True)
class Survey:
    """Facts about the data from which a plan is made.

    Attributes:
        channels: of every volume.
        grids: of the volumes, in the cases' order.
        intensities: (channel, n): a sample of the voxels that show something, at most the same number of each case.
        shown: what each case shows of what is learnt, by the case's name.
        outliers: a sentence on each channel with voxels far beyond all others.
        structures: of a segmentation, what each case's labels measure, by the case's name.
    """

    channels: int
    grids: tuple[Grid, ...]
    intensities: np.ndarray
    shown: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    outliers: tuple[str, ...] = ()
    structures: Mapping[str, tuple[Structure, ...]] = field(default_factory=dict)


def survey_cases(
    cases: Sequence[Case],
    check: Callable[[Case, Volume], Shown],
    after_case: Callable[[Case], None] = lambda case: None,
) -> Survey:
    """Read and check all cases.

    Args:
        check: raises VolumeError where a case's reference does not fit its volume; returns what the case shows. Where
            that does not tell voxels, those above the mean of the first channel are taken.
        after_case: called with each case once it was checked.

    Raises:
        VolumeError: naming each file that cannot be used.
    """
    grids, samples, outliers = [], [], []
    shown: dict[str, tuple[Item, ...]] = {}
    structures: dict[str, tuple[Structure, ...]] = {}
    rng = np.random.default_rng(0)
    faults, first = Faults(), None
    for case in cases:
        with faults.noting():
            volume = read_case(case)
            if first is not None and volume.channels != len(samples[0]):
                raise VolumeError(
                    f"{case.channels[0]} has {volume.channels} channels and {first.channels[0].name} "
                    f"{len(samples[0])}: give all volumes the same channels."
                )
            found = check(case, volume)
            shown[case.name], voxels, structures[case.name] = found.items, found.voxels, found.structures
            if voxels is None or not voxels.any():
                voxels = volume.array[0] > volume.array[0].mean(dtype=np.float64)
            samples.append(_sample(volume.array, voxels, rng))
            first = first or case
            grids.append(volume.grid)
            outliers += _outliers(case, volume)
            after_case(case)
    faults.refuse()
    intensities = np.concatenate(samples, axis=1)
    return Survey(len(samples[0]), tuple(grids), intensities, shown, tuple(outliers), structures)


def _outliers(case: Case, volume: Volume) -> list[str]:
    named = len(case.channels) == volume.channels
    names = [
        case.channels[number].name if named else f"Channel {number + 1} of {case.channels[0].name}"
        for number in range(volume.channels)
    ]
    notices = (outlier_notice(values, name) for values, name in zip(volume.array, names, strict=True))
    return [notice for notice in notices if notice is not None]


def _sample(array: np.ndarray, shown: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    places = np.flatnonzero(shown)
    if len(places) > _KEPT:
        places = rng.choice(places, _KEPT, replace=False)
    return array.reshape(len(array), -1)[:, places].astype(np.float32)
