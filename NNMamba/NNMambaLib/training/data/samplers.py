"""The samplers, one a task: they make a training sample from a prepared case. Sizes are along (z, y, x)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.training.data.augmentation import Augmentation
from NNMambaLib.training.data.patches import cut_patch, place_patch
from NNMambaLib.training.data.prepared import PreparedCase
from NNMambaLib.volumes.volume import Shape

# Names of the arrays in `PreparedCase.reference`.
LABELS, PLACES, LANDMARKS, CLASSES = "labels", "places", "landmarks", "classes"


@dataclass(frozen=True)
class SegmentationSampler:
    """Samples patches with labels; every label of a case has the same chance of being looked for.

    Attributes:
        foreground: fraction of the samples that are placed about a voxel of a label that the case shows.
        augmentation: None for none.
    """

    patch: Shape
    foreground: float
    augmentation: Augmentation | None

    def __call__(self, case: PreparedCase, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return intensities float32 (channel, z, y, x) and labels int64 (z, y, x)."""
        around, places = None, case.reference[PLACES]
        if len(places) and rng.random() < self.foreground:
            label = rng.choice(np.unique(places[:, 0]))
            around = rng.choice(places[places[:, 0] == label])[1:]
        start = place_patch(case.grid.shape, self.patch, rng, around)
        volume, (labels,), _ = _cut(case, [case.reference[LABELS]], start, self.patch, self.augmentation)
        if self.augmentation is None:
            return torch.from_numpy(volume), torch.from_numpy(labels.astype(np.int64))
        intensities, changed, _ = self.augmentation(volume, labels, rng)
        assert changed is not None, "labels were given"
        return intensities, changed


@dataclass(frozen=True)
class LandmarksSampler:
    """Samples patches with landmarks, see `SegmentationSampler`; a landmark outside the patch is absent."""

    patch: Shape
    foreground: float
    augmentation: Augmentation | None

    def __call__(self, case: PreparedCase, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return intensities float32 (channel, z, y, x) and landmarks float32 (K, 4), see `LandmarksObjective`."""
        landmarks = np.array(case.reference[LANDMARKS], np.float64)
        present = landmarks[landmarks[:, 3] > 0]
        around = None
        if len(present) and rng.random() < self.foreground:
            around = rng.choice(present)[2::-1]
        start = place_patch(case.grid.shape, self.patch, rng, around)
        volume, _, corner = _cut(case, [], start, self.patch, self.augmentation)
        places = landmarks[:, 2::-1] - corner
        if self.augmentation is None:
            volume = torch.from_numpy(volume)
        else:
            volume, _, origin = self.augmentation(volume, None, rng)
            places = (places - origin[:3, 3]) @ np.linalg.inv(origin[:3, :3]).T
        inside = np.all((places >= -0.5) & (places <= np.array(self.patch) - 0.5), axis=1)
        landmarks[:, :3] = places[:, ::-1]
        landmarks[(landmarks[:, 3] > 0) & ~inside, 3] = 0
        return volume, torch.from_numpy(landmarks.astype(np.float32))


@dataclass(frozen=True)
class ClassificationSampler:
    """Samples whole volumes with their classes, cropped or padded about the centre as in inference."""

    patch: Shape
    augmentation: Augmentation | None

    def __call__(self, case: PreparedCase, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return intensities float32 (channel, z, y, x) and classes int64 (T,)."""
        classes = torch.from_numpy(np.array(case.reference[CLASSES], np.int64))
        if self.augmentation is None:
            return torch.from_numpy(fit_to_patch(case.array, self.patch)), classes
        sample = fit_to_patch(case.array, self.augmentation.sample_shape)
        return self.augmentation(sample, None, rng)[0], classes


def _cut(
    case: PreparedCase,
    others: list[np.ndarray],
    start: tuple[int, ...],
    patch: Shape,
    augmentation: Augmentation | None,
) -> tuple[np.ndarray, list[np.ndarray], tuple[int, ...]]:
    """Return a patch of the case's volume and of other arrays, with the augmentation's margin, and its first voxel."""
    corner, size = start, patch
    if augmentation is not None:
        corner = tuple(first - margin for first, margin in zip(start, augmentation.margin, strict=True))
        size = augmentation.sample_shape
    return cut_patch(case.array, corner, size), [cut_patch(other, corner, size) for other in others], corner
