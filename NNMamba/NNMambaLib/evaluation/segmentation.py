"""Agreement of two label volumes, label by label, with MONAI's overlap and surface distances."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.volume import Spacing, Volume

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement on one label in one case.

    Attributes:
        dice: 0..1.
        hd95: 95th percentile of the Hausdorff distance, mm; infinite where one side lacks the label.
        nsd: normalised surface distance (surface Dice) at the tolerance, 0..1.
        volume_ml, reference_ml: of prediction and reference.
    """

    dice: float
    hd95: float
    nsd: float
    volume_ml: float
    reference_ml: float

    @property
    def volume_difference_ml(self) -> float:
        return self.volume_ml - self.reference_ml


def compare_labels(prediction: Volume, reference: Volume, tolerance: float = 1.0) -> dict[int, LabelAgreement]:
    """Return the agreement of every label above 0 that occurs in either volume.

    Args:
        prediction, reference: labels (1, z, y, x); the prediction may have its axes permuted or flipped.
        tolerance: of the normalised surface distance, mm.

    Raises:
        VolumeError: if one has several channels, or the grids differ.
    """
    for volume in (prediction, reference):
        if volume.channels != 1:
            raise VolumeError(
                f"{volume.name} has {volume.channels} channels where labels have one: save all its labels in one layer."
            )
    prediction = prediction.reoriented(reference.grid.orientation)
    if not prediction.grid.matches(reference.grid):
        raise VolumeError(
            f"{prediction.name} and {reference.name} have different grids: bring the labels to the same grid first."
        )
    x, y, z = reference.grid.spacing
    voxel_ml = reference.grid.voxel_volume / 1000
    values = sorted((set(np.unique(prediction.array)) | set(np.unique(reference.array))) - {0})
    return {
        int(value): _agreement(
            prediction.array[0] == value, reference.array[0] == value, (z, y, x), voxel_ml, tolerance
        )
        for value in values
    }


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Return the Dice coefficient of two masks of the same shape: NaN where both are empty, 0 where one of them is."""
    from monai.metrics import compute_dice

    if not prediction.any() and not reference.any():
        return float("nan")
    return compute_dice(_as_batch(prediction), _as_batch(reference), ignore_empty=False).item()


def _agreement(
    ours: np.ndarray, truth: np.ndarray, spacing: Spacing, voxel_ml: float, tolerance: float
) -> LabelAgreement:
    """Return the agreement of two masks (z, y, x), at least one of them not empty; `spacing` is along (z, y, x)."""
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    volumes = float(ours.sum() * voxel_ml), float(truth.sum() * voxel_ml)
    if not ours.any() or not truth.any():
        return LabelAgreement(0.0, np.inf, 0.0, *volumes)
    box = _box(ours | truth)
    ours, truth = ours[box], truth[box]
    pair = _as_batch(ours), _as_batch(truth)
    with warnings.catch_warnings():
        # MONAI 1.5 warns of an argument that it passes to itself.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        distances = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
        near = compute_surface_dice(*pair, class_thresholds=[tolerance], include_background=True, spacing=spacing)
    return LabelAgreement(dice(ours, truth), distances.item(), near.item(), *volumes)


def _as_batch(mask: np.ndarray) -> torch.Tensor:
    """Return a mask (z, y, x) as MONAI takes it: (batch, channel, z, y, x)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(mask, dtype=bool))[None, None]


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the mask's bounding box with a rim of one voxel, so that surfaces stay surfaces."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(max(0, used[0] - 1), used[-1] + 2))
    return tuple(box)
