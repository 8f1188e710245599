"""Temperature scaling (Guo et al. 2017): one number a target that makes a classifier's probabilities honest."""

import numpy as np
from scipy.optimize import minimize_scalar

_LOG_RANGE = (-3.0, 3.0)


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """The temperature that makes the classes likeliest: logits float (case, class), classes int (case,).

    Raises ValueError where there is no case.
    """
    if len(classes) == 0:
        raise ValueError("A temperature cannot be fitted to no cases.")

    def negative_log_likelihood(log_temperature: float) -> float:
        p = scaled_probabilities(logits, np.exp(log_temperature))
        return -float(np.log(p[np.arange(len(classes)), classes].clip(1e-12)).mean())

    return float(np.exp(minimize_scalar(negative_log_likelihood, bounds=_LOG_RANGE, method="bounded").x))


def scaled_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of logits / temperature over the last axis, in float64."""
    scaled = np.asarray(logits, float) / temperature
    p = np.exp(scaled - scaled.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)
