"""From the height of a heatmap's peak to the probability that its landmark is there, fitted on validation cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from NNMambaLib.models.manifest import HeatmapDecoding

# Without enough validation cases: a peak of 0.3 is as likely a landmark as not, one of 1 certainly is one.
DEFAULT_DECODING = HeatmapDecoding(slope=10.0, intercept=-3.0)
_FEWEST = 5


def fit_heatmap_decoding(peaks: Sequence[float], present: Sequence[bool]) -> HeatmapDecoding:
    """Return the logistic curve from a heatmap's peak to the probability that its landmark is there.

    Platt's method: the targets fall short of 0 and 1 by what few cases leave open. With fewer than five landmarks that
    are there, or that are not, the default curve.
    """
    from scipy.optimize import minimize

    peaks, present = np.asarray(peaks, float), np.asarray(present, bool)
    found, absent = int(present.sum()), int((~present).sum())
    if min(found, absent) < _FEWEST:
        return DEFAULT_DECODING
    wanted = np.where(present, (found + 1) / (found + 2), 1 / (absent + 2))

    def cost(parameters: np.ndarray) -> float:
        z = parameters[0] * peaks + parameters[1]
        return float((np.logaddexp(0, z) - wanted * z).mean())

    slope, intercept = minimize(cost, (DEFAULT_DECODING.slope, DEFAULT_DECODING.intercept), method="Nelder-Mead").x
    # A curve that falls with the peak would call for an empty heatmap to find a landmark.
    return HeatmapDecoding(float(slope), float(intercept)) if slope > 0 else DEFAULT_DECODING
