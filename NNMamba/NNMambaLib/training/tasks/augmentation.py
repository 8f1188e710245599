"""The augmentation that a configuration asks for."""

from __future__ import annotations

from NNMambaLib.training.configuration import Configuration
from NNMambaLib.training.transforms import Augmentation


def augmentation_of(configuration: Configuration) -> Augmentation | None:
    """Return it, or None for none; for a configuration that `resolve` returned."""
    if not configuration.augment:
        return None
    return Augmentation(configuration.patch[::-1], configuration.spacing[::-1], configuration.mirror_axes)
