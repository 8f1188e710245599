"""Metrics over cases: mean, median and the mean's bootstrap confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """A metric over `count` cases; cases without a value (NaN) are left out and counted in `without`.

    `low` and `high` bound the mean with 95 % confidence (percentile bootstrap); None for fewer than two cases.
    """

    mean: float | None
    median: float | None
    low: float | None
    high: float | None
    count: int
    without: int


def summarize(values: Sequence[float], seed: int = 0, resamples: int = 2000) -> Summary:
    """Return the summary of one metric over cases; infinite values (the distance of a missed structure) are kept."""
    from scipy.stats import bootstrap

    array = np.asarray(values, float)
    kept = array[~np.isnan(array)]
    without = len(array) - len(kept)
    if len(kept) == 0:
        return Summary(None, None, None, None, 0, without)
    low = high = None
    if len(kept) > 1 and np.isfinite(kept).all():
        interval = bootstrap(
            (kept,), np.mean, n_resamples=resamples, confidence_level=_CONFIDENCE, method="percentile", rng=seed
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Summary(float(kept.mean()), float(np.median(kept)), low, high, len(kept), without)
