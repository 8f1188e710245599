"""Volumes that do not show a human head as it is: what a classifier of heads must not be sure about.

Every function returns a float32 volume (z, y, x) and takes its random generator as an argument.
"""

import numpy as np
import torch
import torch.nn.functional as F

_BLOCKS = (4, 8, 16)


def noise(shape: tuple[int, int, int], rng: np.random.Generator) -> torch.Tensor:
    """Return white noise, noise of one smoothness, or of one for each axis; at its smoothest, three control points."""
    counts = np.exp(rng.uniform(np.log(3), np.log(shape)))
    kind = int(rng.integers(3))
    coarse = [shape, (round(counts[0]),) * 3, [round(count) for count in counts]][kind]
    control = torch.as_tensor(rng.standard_normal((1, 1, *coarse), dtype=np.float32))
    return F.interpolate(control, size=shape, mode="trilinear", align_corners=True)[0, 0]


def bodies(
    shape: tuple[int, int, int], spacing: float, rng: np.random.Generator, phantoms: bool = False
) -> torch.Tensor:
    """Return a large ellipsoid or elliptic cylinder with up to a dozen smaller ones in it, each of its own brightness.

    spacing: of the voxels, mm. The large body is 50 to 450 mm wide, so that it may fill the volume.
    phantoms: the smaller ones are few, often none, as in a ball; half of the volumes are textured by `noise`.
    """
    volume = torch.full(shape, float(rng.uniform(0, 0.1)))
    widths = rng.uniform(50, 450) * rng.uniform(0.6, 1.2, 3)
    cylinder = int(rng.integers(3)) if rng.random() < 0.5 else None
    _paint(volume, rng.uniform(-20, 20, 3), widths, cylinder, spacing, rng)
    count = int(13 * rng.random() ** 2) if phantoms else int(rng.integers(1, 13))
    for _ in range(count):
        cylinder_within = cylinder if rng.random() < 0.3 else None
        center = rng.uniform(-0.35, 0.35, 3) * widths
        _paint(volume, center, rng.uniform(0.08, 0.6) * widths, cylinder_within, spacing, rng)
    if phantoms and rng.random() < 0.5:
        volume = volume * (1 + rng.uniform(0, 0.4) * noise(shape, rng))
    return volume


def shuffled(volume: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return the blocks of a cube in random order, each with its axes permuted and flipped."""
    size = volume.shape[0]
    width = int(rng.choice([block for block in _BLOCKS if size % block == 0]))
    count = size // width
    blocks = volume.reshape(count, width, count, width, count, width).permute(0, 2, 4, 1, 3, 5)
    blocks = blocks.reshape(-1, width, width, width)[torch.as_tensor(rng.permutation(count**3))]
    turned = []
    for block in blocks:
        block = block.permute(*rng.permutation(3).tolist())
        turned.append(block.flip([axis for axis in range(3) if rng.random() < 0.5]))
    grid = torch.stack(turned).reshape(count, count, count, width, width, width)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(volume.shape).contiguous()


def scrambled(volume: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return the spectrum's amplitudes with the phases of noise: the same texture without the shape."""
    amplitudes = torch.fft.rfftn(volume).abs()
    phases = torch.fft.rfftn(torch.as_tensor(rng.standard_normal(volume.shape, dtype=np.float32))).angle()
    return torch.fft.irfftn(torch.polar(amplitudes, phases), s=volume.shape)


def _paint(volume, center, widths, cylinder: int | None, spacing: float, rng) -> None:
    """Set the voxels of a body to one value: an ellipsoid, or a cylinder along the axis `cylinder`; lengths in mm."""
    radius = torch.zeros(volume.shape)
    for axis, size in enumerate(volume.shape):
        if axis == cylinder:
            continue
        along = (torch.arange(size, dtype=torch.float32) - (size - 1) / 2) * spacing - float(center[axis])
        along = (along / (float(widths[axis]) / 2)) ** 2
        radius = radius + along.reshape([-1 if a == axis else 1 for a in range(3)])
    volume[radius < 1] = float(rng.uniform(0, 1))
