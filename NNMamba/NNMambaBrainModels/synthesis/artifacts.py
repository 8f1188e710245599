"""Degradations of an acquisition: bias field, thick slices, noise, gamma, cut field of view.

Functions work on float32 volumes (z, y, x) and take their random generator as an argument.
"""

import numpy as np
import torch
import torch.nn.functional as F

# Distance between a field of blobs' control points, mm.
_BLOB_SPACING = (6.0, 25.0)


def add_bias_field(volume: torch.Tensor, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """Multiply by exp(smooth field); `strength` is the field's standard deviation at its control points."""
    coarse = torch.as_tensor(rng.normal(0, strength, (1, 1, 4, 4, 4)).astype(np.float32))
    field = F.interpolate(coarse, size=volume.shape, mode="trilinear", align_corners=True)[0, 0]
    return volume * field.exp()


def blobs(shape: tuple[int, int, int], spacing: float, strength: float, rng: np.random.Generator) -> torch.Tensor:
    """Return a positive field of blobs 6 to 25 mm wide; `strength` is its logarithm's deviation at control points.

    spacing: of the voxels, mm.
    """
    between = rng.uniform(*_BLOB_SPACING)
    coarse = [max(2, round(n * spacing / between) + 1) for n in shape]
    control = torch.as_tensor(rng.normal(0, strength, (1, 1, *coarse)).astype(np.float32))
    return F.interpolate(control, size=shape, mode="trilinear", align_corners=True)[0, 0].exp()


def lower_resolution(volume: torch.Tensor, factor: float, axis: int) -> torch.Tensor:
    """Average over slices `factor` voxels thick along `axis` and interpolate back to the same grid."""
    coarse = list(volume.shape)
    coarse[axis] = max(2, round(coarse[axis] / factor))
    thick = F.interpolate(volume[None, None], size=tuple(coarse), mode="area")
    return F.interpolate(thick, size=volume.shape, mode="trilinear", align_corners=False)[0, 0]


def add_noise(volume: torch.Tensor, sd: float, rng: np.random.Generator) -> torch.Tensor:
    """Add Rician noise: the magnitude of the signal plus complex Gaussian noise of standard deviation `sd`."""
    real = volume + sd * torch.as_tensor(rng.standard_normal(volume.shape, dtype=np.float32))
    imaginary = sd * torch.as_tensor(rng.standard_normal(volume.shape, dtype=np.float32))
    return torch.hypot(real, imaginary)


def change_gamma(volume: torch.Tensor, log_gamma: float) -> torch.Tensor:
    """Raise to the power exp(log_gamma) on a 0..1 scale; negative values become 0."""
    top = volume.max().clamp_min(1e-6)
    return (volume.clamp_min(0) / top) ** float(np.exp(log_gamma)) * top


def visible_box(shape: tuple[int, ...], largest_cut: float, rng: np.random.Generator) -> tuple[slice, ...]:
    """Return slices of a field of view that is cut on one random side by up to `largest_cut` of the axis."""
    axis = int(rng.integers(len(shape)))
    cut = int(rng.uniform(0, largest_cut) * shape[axis])
    box = [slice(None)] * len(shape)
    box[axis] = slice(cut, None) if rng.random() < 0.5 else slice(None, shape[axis] - cut)
    return tuple(box)
