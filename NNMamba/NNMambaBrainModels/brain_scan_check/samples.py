"""Synthetic samples of `brain-scan-check`: heads of known contrast, their axes in a random order and direction.

The four targets are the `Direction` that the first (i), second (j) and third (k) array axis points to, and the
`Contrast`. Arrays have axes (k, j, i).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from NNMambaBrainModels.heads.dataset import HeadDataset
from NNMambaBrainModels.heads.soft_head import SPACING, SoftHead
from NNMambaBrainModels.synthesis import artifacts, outliers
from NNMambaBrainModels.synthesis.contrast import random_means, t1_like_means
from NNMambaBrainModels.synthesis.deformation import DeformationSettings, sample_at, sampling_positions
from NNMambaBrainModels.synthesis.mr_sequences import Contrast, sequence_means
from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.inference.preprocessing import normalize
from NNMambaLib.models.manifest import Normalization
from NNMambaLib.volumes.volume import Shape

NORMALIZATION = Normalization("percentile", mask="all", low=0.5, high=99.5)
# A target that is not a class: the network is asked nothing, or asked to be undecided.
UNKNOWN = -1
UNDECIDED = -2
_T1_LIKE_JITTER = 0.08
_ACQUIRED = {"T1w": Contrast.T1, "T2w": Contrast.T2}


class Direction(IntEnum):
    """Where an array axis points. A mirrored brain looks like a brain, so left and right are one class."""

    LEFT_OR_RIGHT = 0
    ANTERIOR = 1
    POSTERIOR = 2
    SUPERIOR = 3
    INFERIOR = 4


VIEWS = 2
CLASSES = (len(Direction), len(Direction), len(Direction), len(Contrast))
# Where a head model's axes (z, y, x) point, as they are and flipped.
_RISING = (Direction.SUPERIOR, Direction.ANTERIOR, Direction.LEFT_OR_RIGHT)
_FALLING = (Direction.INFERIOR, Direction.POSTERIOR, Direction.LEFT_OR_RIGHT)


@dataclass(frozen=True)
class ScanCheckSettings:
    """What the generator chooses from. Probabilities are per sample; lengths in mm; `size` in voxels along every axis.

    field_of_view, tight_field: length of an axis that is cut short, for heads and for shrunken ones.
    contrast_probabilities: in the order of `Contrast`. The network mistakes T1 and FLAIR for each other; T1 is rarer
        here, since most acquired volumes show it.
    random_contrast_probability: of a contrast that no sequence has, to teach directions alone.
    shrunken: size of the heads that count as outliers, relative to the head model's.
    normalization: of the finished volume; the packaged model's manifest carries the same.
    """

    size: int = 32
    spacing: float = 7.0
    deformation: DeformationSettings = field(
        default_factory=lambda: DeformationSettings(
            rotation=15.0, scale=(0.82, 1.12), stretch=0.06, translation=(20.0, 12.0, 12.0), elastic=3.0
        )
    )
    acquired_probability: float = 0.35
    contrast_probabilities: tuple[float, float, float, float] = (0.25, 0.2, 0.2, 0.35)
    random_contrast_probability: float = 0.1
    outlier_probability: float = 0.2
    spread: tuple[float, float] = (0.0, 0.04)
    blur: tuple[float, float] = (0.3, 2.1)
    bias_field: tuple[float, float] = (0.0, 0.25)
    log_gamma: float = 0.2
    noise: tuple[float, float] = (0.0, 0.04)
    thick_slice_probability: float = 0.3
    slice_thickness: tuple[float, float] = (7.0, 10.0)
    short_field_probability: float = 0.2
    field_of_view: tuple[float, float] = (150.0, 220.0)
    tight_field: tuple[float, float] = (50.0, 140.0)
    neck_probability: float = 0.5
    skull_strip_probability: float = 0.1
    shrunken: tuple[float, float] = (0.3, 0.55)
    normalization: Normalization = NORMALIZATION

    @property
    def shape(self) -> Shape:
        """Voxels of a sample along each axis."""
        return self.size, self.size, self.size


class ScanCheckSamples(HeadDataset[SoftHead]):
    """Pairs of (intensity float32 (1, k, j, i), class probabilities float32 (19,)); see `HeadDataset`.

    VIEWS samples in a row show the same volume with its axes in different orders, so that they differ only in what is
    to be learnt.
    """

    def __init__(
        self,
        heads: Sequence[tuple[SoftHead, float]],
        settings: ScanCheckSettings,
        seed: int,
        length: int,
        first: int = 0,
    ):
        super().__init__(heads, seed, length, first)
        self._settings = settings
        self._last: tuple[int, tuple[torch.Tensor, int]] | None = None

    def make(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        volume_number, view = divmod(number, VIEWS)
        volume, contrast = self._volume(volume_number)
        volume, directions = reorder(volume, *random_order(self.generator(volume_number, view)))
        targets = (UNDECIDED,) * 4 if contrast == UNDECIDED else (*directions, contrast)
        patch = fit_to_patch(volume.numpy()[None], self._settings.shape)
        return torch.from_numpy(patch), probabilities(targets)

    def _volume(self, number: int) -> tuple[torch.Tensor, int]:
        """Return volume `number` and its contrast; the last one is kept, for its other views."""
        if self._last is None or self._last[0] != number:
            rng = self.generator(number)
            self._last = number, synthesize(self.choose_head(rng), self._settings, rng)
        return self._last[1]


def synthesize(
    head: SoftHead, settings: ScanCheckSettings, rng: np.random.Generator
) -> tuple[torch.Tensor, Contrast | int]:
    """Return a head or an outlier, float32 (z, y, x), normalized, and its contrast, UNKNOWN or UNDECIDED."""
    if rng.random() < settings.outlier_probability:
        volume, contrast, field_of_view = _outlier(head, settings, rng)
    else:
        volume, contrast = _head(head, settings, settings.deformation, rng)
        field_of_view = _field_of_view(settings, settings.field_of_view, settings.short_field_probability, rng)
    volume = _degrade(volume, settings, rng)[field_of_view]
    normalize(volume.numpy(), settings.normalization)
    return volume, contrast


def probabilities(targets: Sequence[int]) -> torch.Tensor:
    """Return the wanted probabilities, float32 (sum of CLASSES,): all equal where UNDECIDED, zero where UNKNOWN."""
    parts = []
    for target, count in zip(targets, CLASSES, strict=True):
        part = torch.full((count,), 1 / count if target == UNDECIDED else 0.0)
        if target >= 0:
            part[target] = 1.0
        parts.append(part)
    return torch.cat(parts)


def random_order(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return one of the 48 ways to permute and flip three axes, for `reorder`."""
    return tuple(int(axis) for axis in rng.permutation(3)), tuple(bool(flip) for flip in rng.integers(0, 2, 3))


def reorder(
    volume: torch.Tensor, axes: Sequence[int], flips: Sequence[bool]
) -> tuple[torch.Tensor, tuple[Direction, Direction, Direction]]:
    """Return a head with its axes (z, y, x) permuted, then flipped, and where i, j and k (the last axis first) point.

    axes: for each axis of the result, the axis that it was.
    flips: for each axis of the result, whether it is flipped.
    """
    volume = volume.permute(*axes).flip([axis for axis, flip in enumerate(flips) if flip])
    directions = [(_FALLING if flip else _RISING)[axis] for axis, flip in zip(axes, flips, strict=True)]
    i, j, k = reversed(directions)
    return volume, (i, j, k)


def _head(
    head: SoftHead, settings: ScanCheckSettings, deformation: DeformationSettings, rng: np.random.Generator
) -> tuple[torch.Tensor, int]:
    """Return a head at the sample's resolution, axes (z, y, x), and its contrast or UNKNOWN."""
    intensity, contrast = _native_intensity(head, settings, rng)
    if rng.random() < settings.skull_strip_probability:
        intensity = intensity * head.brain
    spread = rng.uniform(*settings.spread) * (intensity > 0.05)
    intensity = intensity + spread * torch.as_tensor(rng.standard_normal(intensity.shape, dtype=np.float32))
    intensity = torch.as_tensor(gaussian_filter(intensity.numpy(), rng.uniform(*settings.blur) / SPACING, radius=2))
    positions = sampling_positions(settings.shape, settings.spacing, deformation, rng)
    index = positions / SPACING + head.center
    if rng.random() < settings.neck_probability:
        # Head models end at the skull base; their lowest slice, repeated, serves as the neck.
        index[..., 0].clamp_min_(0)
    return sample_at(intensity, index), contrast


def _native_intensity(
    head: SoftHead, settings: ScanCheckSettings, rng: np.random.Generator
) -> tuple[torch.Tensor, int]:
    if head.intensities and rng.random() < settings.acquired_probability:
        name = sorted(head.intensities)[int(rng.integers(len(head.intensities)))]
        return head.intensities[name], int(_ACQUIRED[name])
    if rng.random() < settings.random_contrast_probability:
        return head.render(random_means(rng)), UNKNOWN
    contrast = Contrast(int(rng.choice(len(Contrast), p=settings.contrast_probabilities)))
    if contrast is Contrast.T1 and rng.random() < 0.5:
        return head.render(t1_like_means(_T1_LIKE_JITTER, rng)), int(contrast)
    return head.render(sequence_means(contrast, rng)), int(contrast)


def _outlier(
    head: SoftHead, settings: ScanCheckSettings, rng: np.random.Generator
) -> tuple[torch.Tensor, int, tuple[slice, ...]]:
    shape = settings.shape
    limits, short = settings.field_of_view, settings.short_field_probability
    kind = int(rng.integers(5))
    if kind == 0:
        volume, short = outliers.noise(shape, rng), 0.5
    elif kind == 1:
        volume = outliers.bodies(shape, settings.spacing, rng, phantoms=True)
    elif kind == 2:
        volume = outliers.shuffled(_head(head, settings, settings.deformation, rng)[0], rng)
    elif kind == 3:
        volume = outliers.scrambled(_head(head, settings, settings.deformation, rng)[0], rng)
    else:
        volume, _ = _head(head, settings, replace(settings.deformation, scale=settings.shrunken), rng)
        limits, short = settings.tight_field, 0.7
    return volume, UNDECIDED, _field_of_view(settings, limits, short, rng)


def _degrade(volume: torch.Tensor, settings: ScanCheckSettings, rng: np.random.Generator) -> torch.Tensor:
    volume = volume - volume.min()
    volume = volume / volume.max().clamp_min(1e-6)
    volume = artifacts.change_gamma(volume, rng.normal(0, settings.log_gamma))
    volume = artifacts.add_bias_field(volume, rng.uniform(*settings.bias_field), rng)
    if rng.random() < settings.thick_slice_probability:
        thickness = rng.uniform(*settings.slice_thickness) / settings.spacing
        volume = artifacts.lower_resolution(volume, thickness, int(rng.integers(3)))
    return artifacts.add_noise(volume, rng.uniform(*settings.noise), rng)


def _field_of_view(
    settings: ScanCheckSettings, limits: tuple[float, float], probability: float, rng: np.random.Generator
) -> tuple[slice, ...]:
    """Return a box about the centre: each axis whole or, with this probability, cut to a length within the limits."""
    box = []
    for _ in range(3):
        length = settings.size
        if rng.random() < probability:
            length = min(length, round(rng.uniform(*limits) / settings.spacing))
        start = (settings.size - length) // 2
        box.append(slice(start, start + length))
    return tuple(box)
