"""Calibrating confidences on validation cases: a classifier's temperature, a heatmap's logistic curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from NNMambaLib.models.manifest import HeatmapDecoding

_LOG_RANGE = (-3.0, 3.0)


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Return the temperature of greatest likelihood (temperature scaling: Guo et al., ICML 2017).

    Args:
        logits: float (case, class).
        classes: int (case,).

    Raises:
        ValueError: if there are no cases.
    """
    if len(classes) == 0:
        raise ValueError("There are no cases to fit a temperature to: give at least one.")

    def negative_log_likelihood(log_temperature: float) -> float:
        p = scaled_probabilities(logits, np.exp(log_temperature))
        return -float(np.log(p[np.arange(len(classes)), classes].clip(1e-12)).mean())

    found: Any = minimize_scalar(negative_log_likelihood, bounds=_LOG_RANGE, method="bounded")
    return float(np.exp(found.x))


def scaled_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax of logits / temperature over the last axis, in float64."""
    scaled = np.asarray(logits, float) / temperature
    p = np.exp(scaled - scaled.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


# For too few validation cases: a peak of 0.3 is as likely a landmark as not, a peak of 1 is one almost surely.
DEFAULT_DECODING = HeatmapDecoding(slope=10.0, intercept=-3.0)
_FEWEST = 5


def fit_heatmap_decoding(peaks: Sequence[float], present: Sequence[bool]) -> HeatmapDecoding:
    """Return the logistic curve from a heatmap's peak to the probability that its landmark is present.

    The targets are smoothed as by Platt ("Probabilistic outputs for support vector machines", 1999). With fewer than
    five landmarks that are present, or absent, the default curve is returned.

    Args:
        peaks: height of each heatmap's peak.
        present: whether its landmark is there.
    """
    from scipy.optimize import minimize

    heights, there = np.asarray(peaks, float), np.asarray(present, bool)
    found, absent = int(there.sum()), int((~there).sum())
    if min(found, absent) < _FEWEST:
        return DEFAULT_DECODING
    wanted = np.where(there, (found + 1) / (found + 2), 1 / (absent + 2))

    def cost(parameters: np.ndarray) -> float:
        z = parameters[0] * heights + parameters[1]
        return float((np.logaddexp(0, z) - wanted * z).mean())

    slope, intercept = minimize(cost, (DEFAULT_DECODING.slope, DEFAULT_DECODING.intercept), method="Nelder-Mead").x
    # A curve that falls with the peak would find landmarks where the heatmap is empty.
    return HeatmapDecoding(float(slope), float(intercept)) if slope > 0 else DEFAULT_DECODING
