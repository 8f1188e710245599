"""A survey of the data: every volume is read and checked once, before anything is made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.training.data.case import Case, read_case
from NNMambaLib.training.data.outliers import outlier_notice
from NNMambaLib.volumes.volume import Grid, Volume

_KEPT = 5000


@dataclass(frozen=True)
class Survey:
    """Facts about the data from which a plan is made.

    Attributes:
        channels: of every volume.
        grids: of the volumes, in the cases' order.
        intensities: (channel, n): a sample of the voxels that show something, at most the same number of each case.
        outliers: a sentence on each channel with voxels far beyond all others.
    """

    channels: int
    grids: tuple[Grid, ...]
    intensities: np.ndarray
    outliers: tuple[str, ...] = ()


def survey_cases(
    cases: Sequence[Case],
    check: Callable[[Case, Volume], np.ndarray | None],
    after_case: Callable[[Case], None] = lambda case: None,
) -> Survey:
    """Read and check all cases.

    Args:
        check: raises VolumeError where a case's reference does not fit its volume; returns the voxels (z, y, x) that
            show something, or None: those above the mean of the first channel.
        after_case: called with each case once it was checked.

    Raises:
        VolumeError: naming the file that cannot be used.
    """
    grids, samples, outliers = [], [], []
    rng = np.random.default_rng(0)
    for case in cases:
        volume = read_case(case)
        if samples and volume.channels != len(samples[0]):
            raise VolumeError(
                f"{case.channels[0]} has {volume.channels} channels and {cases[0].channels[0].name} {len(samples[0])}: "
                "give all volumes the same channels."
            )
        shown = check(case, volume)
        if shown is None or not shown.any():
            shown = volume.array[0] > volume.array[0].mean(dtype=np.float64)
        samples.append(_sample(volume.array, shown, rng))
        grids.append(volume.grid)
        outliers += _outliers(case, volume)
        after_case(case)
    return Survey(len(samples[0]), tuple(grids), np.concatenate(samples, axis=1), tuple(outliers))


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
