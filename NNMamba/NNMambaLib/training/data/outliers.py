"""Voxels that lie so far from all others that they spoil the intensities: one of 1e9 makes the rest a constant."""

from __future__ import annotations

import numpy as np

# Voxels that are looked at, and the percentiles of them between which nearly all lie.
_LOOKED_AT, _PERCENTILES = 200_000, (0.1, 99.9)
# An outlier is farther from the median than this many times that range: metal in CT and vessels in MR are not. Of a
# million voxels, one that far adds a quarter to the variance if the range is five standard deviations.
_FAR = 100.0


def outlier_notice(values: np.ndarray, name: str) -> str | None:
    """Return a sentence on a channel's outliers, (z, y, x), naming the first, and the remedy; None where it has none.

    Args:
        name: of the channel.
    """
    flat = values.reshape(-1)
    looked_at = flat.astype(np.float64) if flat.size <= _LOOKED_AT else _some(flat)
    median = float(np.median(looked_at))
    # Where most voxels are the same, such as 0 around what was cut out, the others tell the range.
    differing = looked_at[looked_at != median]
    if not len(differing):
        return None
    # Of values that occur: interpolated, the outlier of a small volume would widen the range.
    low = float(np.percentile(differing, _PERCENTILES[0], method="higher"))
    high = float(np.percentile(differing, _PERCENTILES[1], method="lower"))
    # The median belongs to the range, which would be empty if the others had one value.
    low, high = min(low, median), max(high, median)
    far = _FAR * (high - low)
    if median - far <= float(flat.min()) and float(flat.max()) <= median + far:
        return None
    places = np.flatnonzero((flat < median - far) | (flat > median + far))
    z, y, x = np.unravel_index(places[0], values.shape)
    return (
        f"{name} has {len(places)} voxel{'s' if len(places) > 1 else ''} far beyond all others (the first is "
        f"{flat[places[0]]:g} at {x}, {y}, {z} (x, y, z), and nearly all are within {low:g} to {high:g}), which may "
        "spoil the normalization: replace them, for example by the background's value, or set normalization to "
        "percentile"
    )


def _some(flat: np.ndarray) -> np.ndarray:
    return flat[np.random.default_rng(0).integers(flat.size, size=_LOOKED_AT)].astype(np.float64)
