"""Random augmentation with MONAI's transforms: small rotations and scalings, mirroring, contrast, noise, blur.

Arrays have axes (channel, z, y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.volumes.volume import Shape, Spacing

_LARGEST_TURN = math.radians(15)
_LARGEST_SCALING = 0.15
# Fraction of the patch, on every side, by which a rotated and scaled patch may reach beyond it.
_MARGIN = 0.2
# Slices that are thicker than their pixels by this factor are rotated only within their plane, as in nnU-Net.
_ANISOTROPIC = 3.0
_AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of samples.

    Attributes:
        patch: voxels along (z, y, x) of what is returned.
        spacing: mm along (z, y, x).
        mirror_axes: of ``x``, ``y``, ``z``.
    """

    patch: Shape
    spacing: Spacing
    mirror_axes: tuple[str, ...] = ()

    @property
    def margin(self) -> Shape:
        """Voxels along (z, y, x) by which a sample must exceed the patch on every side."""
        z, y, x = (math.ceil(_MARGIN * size) for size in self.patch)
        return z, y, x

    @property
    def sample_shape(self) -> Shape:
        """Voxels along (z, y, x) of the patch with its margin."""
        z, y, x = (size + 2 * margin for size, margin in zip(self.patch, self.margin, strict=True))
        return z, y, x

    def __call__(
        self, volume: np.ndarray, labels: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None, np.ndarray]:
        """Return a volume and its labels, changed, and the matrix that says where their voxels come from.

        Args:
            volume: (channel, z, y, x), float32, the patch with its margin.
            labels: (z, y, x), or None.

        Returns:
            The volume, float32, and the labels, int64, as patches; and the 4x4 matrix from voxel index (z, y, x, 1)
            of the patch to that of the sample given.
        """
        from monai.data import MetaTensor

        def tracked(array: np.ndarray) -> MetaTensor:
            return MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=torch.eye(4, dtype=torch.float64))

        data: Any = {"volume": tracked(volume)}
        if labels is not None:
            data["labels"] = tracked(labels[None].astype(np.float32))
        spatial, intensity = self._spatial(list(data)), _intensity()
        for transform in (spatial, intensity):
            transform.set_random_state(seed=int(rng.integers(2**32)))
        data = spatial(data)
        origin = np.asarray(data["volume"].affine)
        changed = None if labels is None else data["labels"].as_tensor()[0].round().long()
        data = intensity(data)
        return data["volume"].as_tensor().float().contiguous(), changed, origin

    def _spatial(self, keys: list[str]):
        from monai.transforms import Compose, RandAffined, RandFlipd

        coarsest = int(np.argmax(self.spacing))
        flat = max(self.spacing) > _ANISOTROPIC * min(self.spacing)
        affine = RandAffined(
            keys=keys,
            spatial_size=self.patch,
            prob=0.5,
            rotate_range=[0.0 if flat and axis != coarsest else _LARGEST_TURN for axis in range(3)],
            scale_range=[(-_LARGEST_SCALING, _LARGEST_SCALING)] * 3,
            mode=["bilinear", "nearest"][: len(keys)],
            padding_mode="zeros",
        )
        flips = [RandFlipd(keys=keys, prob=0.5, spatial_axis=_AXES.index(axis)) for axis in self.mirror_axes]
        return Compose([affine, *flips])


def _intensity():
    from monai.transforms import (
        Compose,
        RandAdjustContrastd,
        RandGaussianNoised,
        RandGaussianSmoothd,
        RandScaleIntensityd,
        RandSimulateLowResolutiond,
    )

    keys, sigma = ["volume"], (0.5, 1.0)
    return Compose(
        [
            RandGaussianNoised(keys=keys, prob=0.15, std=0.1),
            RandGaussianSmoothd(keys=keys, prob=0.15, sigma_x=sigma, sigma_y=sigma, sigma_z=sigma),
            RandScaleIntensityd(keys=keys, prob=0.3, factors=0.25),
            RandSimulateLowResolutiond(keys=keys, prob=0.15, zoom_range=(0.5, 1.0)),
            RandAdjustContrastd(keys=keys, prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
        ]
    )


def augmentation_of(configuration: ResolvedConfiguration) -> Augmentation | None:
    """Return the augmentation that a configuration asks for, or None."""
    if not configuration.augment:
        return None
    return Augmentation(configuration.patch_zyx, configuration.spacing_zyx, configuration.mirror_axes)
