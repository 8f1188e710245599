"""Synthetic samples of `brain-landmarks` as a PyTorch data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from NNMambaBrainModels.heads.dataset import HeadDataset
from NNMambaBrainModels.heads.head_landmarks import LandmarkedHead
from NNMambaBrainModels.heads.landmark_set import LANDMARKS, mirrored_order
from NNMambaBrainModels.synthesis import outliers
from NNMambaBrainModels.synthesis.synthesis import Sample, SynthesisSettings, synthesize
from NNMambaLib.inference.preprocessing import normalize

PRESENT, ABSENT, UNKNOWN = 1.0, 0.0, -1.0
# A landmark further than this from every voxel of the sample, in voxels, is outside it.
_REACH = 1.0


class SyntheticLandmarks(HeadDataset[LandmarkedHead]):
    """Pairs of (intensity float32 (1, z, y, x), target float32 (K, 4)); see `HeadDataset`.

    A target is a position as voxel index (x, y, z), and PRESENT, ABSENT or UNKNOWN.

    Args:
        outlier_probability: of a sample that shows no head, in which every landmark is absent.
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
        super().__init__(heads, seed, length, first)
        self._settings = settings
        self._outlier_probability = outlier_probability

    def make(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = self.generator(number)
        if rng.random() < self._outlier_probability:
            return _outlier(self._settings, rng)[None], torch.zeros(len(LANDMARKS), 4)
        head = self.choose_head(rng)
        sample = synthesize(head.head, self._settings, rng)
        return sample.intensity[None], landmark_target(sample, head.landmarks)


def landmark_target(sample: Sample, landmarks: np.ndarray) -> torch.Tensor:
    """Return where a head's landmarks lie in its sample, float32 (K, 4); see `SyntheticLandmarks`.

    The deformation is taken to be linear about the voxel that is nearest to a landmark.

    Args:
        landmarks: voxel indices (z, y, x) of the head (K, 3), NaN where unknown.
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
    """Return the fractional index (z, y, x) in the sample of a voxel of the head, or None if it is outside."""
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
        volume = outliers.noise(settings.shape, rng)
    else:
        volume = outliers.bodies(settings.shape, settings.spacing, rng)
    normalize(volume.numpy(), settings.normalization)
    return volume
