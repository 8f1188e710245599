"""Random affine and elastic sampling grids."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class DeformationSettings:
    """Ranges of the random deformation; lengths in mm, angles in degrees."""

    rotation: float = 15.0
    scale: tuple[float, float] = (0.82, 1.12)
    stretch: float = 0.06
    shear: float = 0.08
    translation: tuple[float, float, float] = (30.0, 16.0, 16.0)
    elastic: float = 3.5
    elastic_spacing: tuple[float, float] = (24.0, 48.0)
    mirror_probability: float = 0.5


def sampling_positions(
    shape: tuple[int, int, int], spacing: float, settings: DeformationSettings, rng: np.random.Generator
) -> torch.Tensor:
    """Return the position in the head, in mm from its centre, that each voxel of the sample shows.

    shape: (z, y, x) of the sample, whose voxels are cubes of `spacing` mm. The result is float32 (z, y, x, 3), with
    components in the order z, y, x.
    """
    axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * spacing for n in shape]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    matrix = torch.as_tensor(_random_matrix(settings, rng), dtype=torch.float32)
    shift = torch.as_tensor(rng.uniform(-1, 1, 3) * settings.translation, dtype=torch.float32)
    return positions @ matrix.T + shift + _elastic_displacement(shape, spacing, settings, rng)


def is_mirrored(positions: torch.Tensor) -> bool:
    """Tell whether a map (z, y, x, 3) from `sampling_positions` turns right-handed axes into left-handed ones."""
    middle = tuple(n // 2 for n in positions.shape[:3])
    center = positions[middle]
    steps = [positions[tuple(m - (a == axis) for a, m in enumerate(middle))] - center for axis in range(3)]
    # Three steps back: the sign of their determinant is the opposite of that of three steps forward.
    return bool(torch.linalg.det(torch.stack(steps)) > 0)


def sample_at(volume: torch.Tensor, index: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    """Return a volume's values at fractional voxel indices (z, y, x, 3); zero outside the volume.

    mode: ``bilinear`` or ``nearest``, as `grid_sample` has them.
    """
    size = torch.tensor(volume.shape, dtype=torch.float32)
    # grid_sample wants components in the order x, y, z and the range -1..1.
    grid = (2 * index / (size - 1) - 1).flip(-1)
    return F.grid_sample(volume[None, None], grid[None], mode=mode, padding_mode="zeros", align_corners=True)[0, 0]


def _random_matrix(settings: DeformationSettings, rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(3)
    for axis in range(3):
        angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation))
        i, j = (k for k in range(3) if k != axis)
        rotation = np.eye(3)
        rotation[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = matrix @ rotation
    shear = np.eye(3) + np.triu(rng.uniform(-settings.shear, settings.shear, (3, 3)), 1)
    # Positions run from the sample to the head, so a larger head needs a smaller factor.
    scales = 1 / (rng.uniform(*settings.scale) * (1 + rng.uniform(-settings.stretch, settings.stretch, 3)))
    if rng.random() < settings.mirror_probability:
        scales[2] = -scales[2]
    return np.diag(scales) @ shear @ matrix


def _elastic_displacement(
    shape: tuple[int, int, int], spacing: float, settings: DeformationSettings, rng: np.random.Generator
) -> torch.Tensor:
    """Return a smooth random displacement in mm, (z, y, x, 3), from a coarse grid of control points."""
    between = rng.uniform(*settings.elastic_spacing)
    coarse = [max(3, round(n * spacing / between) + 1) for n in shape]
    control = rng.normal(0, rng.uniform(0.3, 1) * settings.elastic, (1, 3, *coarse)).astype(np.float32)
    fine = F.interpolate(torch.as_tensor(control), size=shape, mode="trilinear", align_corners=True)
    return fine[0].permute(1, 2, 3, 0)
