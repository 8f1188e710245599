"""Synthetic head volumes with exact labels, after SynthSeg (Billot et al., Medical Image Analysis 2023).

A head model is deformed, given an intensity (a random or T1-like Gaussian mixture, or an acquired volume), and
degraded as scanners do. The same seed gives the same sample.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.head_model import HeadModel
from NNMambaBrainModels.heads.structure_labels import LEFT_BIT, encode
from NNMambaBrainModels.synthesis import artifacts
from NNMambaBrainModels.synthesis.contrast import random_means, render, t1_like_means
from NNMambaBrainModels.synthesis.deformation import (
    DeformationSettings,
    is_mirrored,
    sample_at,
    sampling_positions,
)
from NNMambaLib.inference.preprocessing import normalize
from NNMambaLib.models.manifest import Normalization

NORMALIZATION = Normalization("percentile", mask="all", low=0.5, high=99.5)


@dataclass(frozen=True)
class SynthesisSettings:
    """What the generator chooses from. Probabilities are per sample; lengths in mm.

    neck_brightness: deviation of the logarithm of a field that neck and jaw (a head's lowest slice, repeated) are
        multiplied by, so that they have blobs as bright as any tissue of the brain.
    normalization: of the finished volume; the packaged model's manifest carries the same. Air becomes 0, which is
        also what inference pads small volumes with.
    """

    shape: tuple[int, int, int] = (80, 96, 80)
    spacing: float = 2.0
    deformation: DeformationSettings = field(default_factory=DeformationSettings)
    acquired_probability: float = 0.6
    t1_like_probability: float = 0.85
    t1_like_jitter: float = 0.05
    spread: tuple[float, float] = (0.02, 0.10)
    blur: tuple[float, float] = (0.5, 1.1)
    bias_field: tuple[float, float] = (0.0, 0.35)
    log_gamma: float = 0.25
    noise: tuple[float, float] = (0.0, 0.06)
    thick_slice_probability: float = 0.5
    slice_thickness: tuple[float, float] = (2.0, 7.0)
    neck_probability: float = 0.6
    neck_brightness: float = 0.0
    cut_probability: float = 0.25
    largest_cut: float = 0.3
    skull_strip_probability: float = 0.06
    normalization: Normalization = NORMALIZATION


@dataclass(frozen=True)
class Sample:
    """A synthetic volume and what it shows.

    intensity: float32 (z, y, x), normalized as the model expects.
    structures: uint8 (z, y, x), generator class and LEFT_BIT; air outside the head and the field of view.
    index: float32 (z, y, x, 3), the voxel of the head (z, y, x) that each voxel shows.
    visible: bool (z, y, x), the field of view.
    mirrored: left and right have changed places.
    """

    intensity: torch.Tensor
    structures: torch.Tensor
    index: torch.Tensor
    visible: torch.Tensor
    mirrored: bool


def synthesize(head: HeadModel, settings: SynthesisSettings, rng: np.random.Generator) -> Sample:
    """Return one training sample of a head model; everything random comes from `rng`."""
    intensity = _native_intensity(head, settings, rng)
    coded = encode(head.classes, head.left)
    if rng.random() < settings.skull_strip_probability:
        brain = head.classes > GeneratorClass.EYE_FLUID
        intensity, coded = intensity * brain, coded * brain
    intensity = torch.as_tensor(gaussian_filter(intensity, rng.uniform(*settings.blur), radius=2))
    coded = torch.as_tensor(coded)

    positions = sampling_positions(settings.shape, settings.spacing, settings.deformation, rng)
    index = positions + torch.as_tensor(_brain_center(head.classes), dtype=torch.float32)
    mirrored = is_mirrored(index)
    below = index[..., 0] < 0
    if rng.random() < settings.neck_probability:
        # Templates end at the skull base; their lowest slice, repeated, serves as the neck.
        index = index.clone()
        index[..., 0].clamp_min_(0)
    structures = sample_at(coded.float(), index, "nearest").to(torch.uint8)
    structures[below & _in_brain(structures)] = int(GeneratorClass.SOFT_TISSUE)
    values = sample_at(intensity, index)
    if settings.neck_brightness:
        blobs = artifacts.blobs(settings.shape, settings.spacing, settings.neck_brightness, rng)
        values = torch.where(below, values * blobs, values)
    intensity = _degrade(values, settings, rng)
    visible = torch.ones(settings.shape, dtype=torch.bool)
    if rng.random() < settings.cut_probability:
        visible = torch.zeros(settings.shape, dtype=torch.bool)
        visible[artifacts.visible_box(settings.shape, settings.largest_cut, rng)] = True
        intensity, structures = intensity * visible, structures * visible
    normalize(intensity.numpy(), settings.normalization)
    return Sample(intensity, structures, index, visible, mirrored)


def _native_intensity(head: HeadModel, settings: SynthesisSettings, rng: np.random.Generator) -> np.ndarray:
    if head.intensities and rng.random() < settings.acquired_probability:
        contrast = sorted(head.intensities)[int(rng.integers(len(head.intensities)))]
        return head.intensities[contrast].astype(np.float32)
    if rng.random() < settings.t1_like_probability:
        means = t1_like_means(settings.t1_like_jitter, rng)
    else:
        means = random_means(rng)
    return render(head, means, rng.uniform(*settings.spread), rng)


def _degrade(intensity: torch.Tensor, settings: SynthesisSettings, rng: np.random.Generator) -> torch.Tensor:
    intensity = artifacts.change_gamma(intensity, rng.normal(0, settings.log_gamma))
    intensity = artifacts.add_bias_field(intensity, rng.uniform(*settings.bias_field), rng)
    thick = rng.random() < settings.thick_slice_probability
    noisy = artifacts.add_noise(intensity, rng.uniform(*settings.noise), rng)
    if not thick:
        return noisy
    thickness = rng.uniform(*settings.slice_thickness) / settings.spacing
    return artifacts.lower_resolution(noisy, thickness, int(rng.integers(3)))


def _brain_center(classes: np.ndarray) -> np.ndarray:
    """Return the centre of the brain's bounding box, voxel index (z, y, x)."""
    brain = classes >= GeneratorClass.CEREBRAL_CORTEX
    center = []
    for axis in range(3):
        occupied = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
        center.append((occupied[0] + occupied[-1]) / 2)
    return np.array(center)


def _in_brain(structures: torch.Tensor) -> torch.Tensor:
    return (structures & (LEFT_BIT - 1)) >= GeneratorClass.CSF
