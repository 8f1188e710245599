"""Overlap of label maps."""

import numpy as np


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient of two masks of the same shape; NaN when both are empty."""
    if first.shape != second.shape:
        raise ValueError(f"Masks of shapes {first.shape} and {second.shape} cannot be compared.")
    first, second = first.astype(bool), second.astype(bool)
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else float("nan")
