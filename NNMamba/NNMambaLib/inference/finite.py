"""Refuses outputs of a network that are not finite: they would pass for background, or for any label."""

from __future__ import annotations

import torch

from NNMambaLib.errors import ModelError


def check_finite(values: torch.Tensor) -> None:
    """Refuse a network's outputs, or weighted sums of them, unless all are finite.

    Raises:
        ModelError: if any is not.
    """
    # A sum is finite only if all are, and takes no memory, unlike a test of each.
    if not bool(torch.isfinite(values.sum())):
        raise ModelError(
            "The network's outputs are not finite (NaN or infinity): nothing can be said of this volume; check its "
            "intensities, or use another model."
        )
