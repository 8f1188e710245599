"""Synthetic samples with their landmarks, as a PyTorch data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from NNMambaBrainModels.heads.head_landmarks import LandmarkedHead
from NNMambaBrainModels.heads.landmark_set import LANDMARKS, mirrored_order
from NNMambaBrainModels.synthesis import outliers
from NNMambaBrainModels.synthesis.synthesis import Sample, SynthesisSettings, normalize, synthesize

PRESENT, ABSENT, UNKNOWN = 1.0, 0.0, -1.0
# A landmark further than this many voxels from all that the sample shows is outside it.
_REACH = 1.0


class SyntheticLandmarks(Dataset):
    """`length` samples; number i depends on the seed and i alone, whatever process draws it.

    heads: (head with landmarks, weight) pairs; a head is drawn in proportion to its weight.
    outlier_probability: of a sample that shows no head, in which every landmark is absent.
    Each item is (intensity float32 (1, z, y, x), target float32 (K, 4)): position as voxel index (x, y, z), and
    PRESENT, ABSENT or UNKNOWN.
    """

    def __init__(
        self,
        heads: Sequence[tuple[LandmarkedHead, float]],
        settings: SynthesisSettings,
        seed: int,
        length: int,
        first: int = 0,
        outlier_probability: float = 0.0,
    ):
        if not heads:
            raise ValueError("At least one head is needed.")
        self._heads = [head for head, _ in heads]
        weights = np.array([weight for _, weight in heads], dtype=float)
        self._probabilities = weights / weights.sum()
        self._settings = settings
        self._seed, self._length, self._first = seed, length, first
        self._outlier_probability = outlier_probability

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not 0 <= index < self._length:
            raise IndexError(index)
        rng = np.random.default_rng((self._seed, self._first + index))
        if rng.random() < self._outlier_probability:
            return _outlier(self._settings, rng)[None], torch.zeros(len(LANDMARKS), 4)
        chosen = self._heads[int(rng.choice(len(self._heads), p=self._probabilities))]
        sample = synthesize(chosen.head, self._settings, rng)
        return sample.intensity[None], landmark_target(sample, chosen.landmarks)


def landmark_target(sample: Sample, landmarks: np.ndarray) -> torch.Tensor:
    """Return where a head's landmarks, voxel index (z, y, x) of the head (K, 3), lie in its sample: (K, 4), see above.

    The deformation is taken for linear about the voxel that shows a landmark best.
    """
    if sample.mirrored:
        landmarks = landmarks[mirrored_order()]
    target = torch.zeros(len(landmarks), 4)
    for number, landmark in enumerate(torch.as_tensor(landmarks, dtype=torch.float32)):
        if torch.isnan(landmark).any():
            target[number, 3] = UNKNOWN
            continue
        position = _locate(sample.index, landmark)
        if position is not None and sample.visible[tuple(position.round().long())]:
            target[number] = torch.tensor([*position.flip(0).tolist(), PRESENT])
    return target


def _locate(index: torch.Tensor, landmark: torch.Tensor) -> torch.Tensor | None:
    """Return the voxel (z, y, x), between voxels, that shows a voxel of the head; None where none does."""
    distance = (index - landmark).square().sum(-1)
    shape = distance.shape
    nearest = np.unravel_index(int(distance.argmin()), shape)
    inner = [min(max(int(i), 1), size - 2) for i, size in zip(nearest, shape, strict=True)]
    jacobian = torch.stack(
        [(index[_stepped(inner, axis, 1)] - index[_stepped(inner, axis, -1)]) / 2 for axis in range(3)], dim=1
    )
    offset = torch.linalg.solve(jacobian, landmark - index[nearest])
    if offset.abs().max() > _REACH:
        return None
    position = torch.tensor([float(i) for i in nearest]) + offset
    inside = (position > -0.5) & (position < torch.tensor(shape) - 0.5)
    return position if bool(inside.all()) else None


def _stepped(index: list[int], axis: int, step: int) -> tuple[int, ...]:
    return tuple(i + step * (a == axis) for a, i in enumerate(index))


def _outlier(settings: SynthesisSettings, rng: np.random.Generator) -> torch.Tensor:
    if rng.random() < 0.4:
        return normalize(outliers.noise(settings.shape, rng))
    return normalize(outliers.bodies(settings.shape, settings.spacing, rng))
