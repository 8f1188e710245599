"""Radial errors of predicted landmarks, and how many were missed or found in vain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from NNMambaLib.volumes.volume import Position

RADII_MM = (2.0, 2.5, 3.0, 4.0)


@dataclass(frozen=True)
class LandmarkAccuracy:
    """The accuracy of one landmark over cases.

    Attributes:
        errors: radial errors in mm where both have it.
        missed: cases where the reference has it and the prediction does not.
        false: cases where the prediction has it and the reference does not.
    """

    errors: tuple[float, ...]
    missed: int
    false: int

    @property
    def mean_radial_error(self) -> float:
        return float(np.mean(self.errors)) if self.errors else float("nan")

    def success_rate(self, radius: float) -> float:
        """Return the fraction of the reference's landmarks found within a radius in mm; a missed one was not found."""
        present = len(self.errors) + self.missed
        return sum(error <= radius for error in self.errors) / present if present else float("nan")


def compare_landmarks(
    predictions: Sequence[Mapping[str, Position | None]], references: Sequence[Mapping[str, Position | None]]
) -> dict[str, LandmarkAccuracy]:
    """Return the accuracy of every landmark that the references name.

    Args:
        predictions, references: a mapping from name to LPS position in mm for each case, None where not found; a name
            that a prediction lacks counts as not found.
    """
    names = list(dict.fromkeys(name for reference in references for name in reference))
    return {
        name: _accuracy([(p.get(name), r.get(name)) for p, r in zip(predictions, references, strict=True)])
        for name in names
    }


def _accuracy(pairs) -> LandmarkAccuracy:
    errors = [float(np.linalg.norm(np.subtract(p, r))) for p, r in pairs if p is not None and r is not None]
    missed = sum(p is None and r is not None for p, r in pairs)
    false = sum(p is not None and r is None for p, r in pairs)
    return LandmarkAccuracy(tuple(errors), missed, false)
