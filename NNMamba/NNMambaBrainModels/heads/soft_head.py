"""SoftHead: a head model as fractions of regions on a coarse grid, so that rendering it is one weighted sum.

Blurring is linear: the mean intensity of a coarse voxel is the sum over regions of the region's share of the voxel
times the region's intensity. At 3 mm this takes milliseconds, where a rendering at 1 mm takes most of a second.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.head_model import TEXTURES_PER_CLASS, HeadModel

SPACING = 3
_FIRST_BRAIN_REGION = int(GeneratorClass.CSF) * TEXTURES_PER_CLASS


@dataclass(frozen=True)
class SoftHead:
    """One head; arrays have axes (z, y, x) rising to Superior, Anterior, Right, voxels are cubes of `SPACING` mm.

    regions: int64 (regions,), class * TEXTURES_PER_CLASS + texture of each region that occurs.
    fractions: float32 (regions, z, y, x), the share of each in a voxel.
    brain: float32 (z, y, x), the share of the brain and the fluid in and around it.
    intensities: contrast name -> float32 (z, y, x), as acquired.
    center: voxel index (z, y, x) of the brain's centroid.
    """

    name: str
    regions: torch.Tensor
    fractions: torch.Tensor
    brain: torch.Tensor
    intensities: dict[str, torch.Tensor]
    center: torch.Tensor

    @classmethod
    def of(cls, head: HeadModel) -> "SoftHead":
        """Return the head model in boxes of SPACING voxels; what is left over at the upper ends is dropped."""
        region_of_voxel = head.classes * TEXTURES_PER_CLASS + head.textures
        regions = np.unique(region_of_voxel)
        fractions = torch.stack([_box_means(region_of_voxel == region) for region in regions])
        brain = fractions[torch.as_tensor(regions >= _FIRST_BRAIN_REGION)].sum(0)
        return cls(
            head.name,
            torch.as_tensor(regions.astype(np.int64)),
            fractions,
            brain,
            {name: _box_means(array) for name, array in head.intensities.items()},
            _centroid(brain),
        )

    def render(self, means: np.ndarray) -> torch.Tensor:
        """Return intensities, float32 (z, y, x), where each region has its entry of `means`, float32 (all regions,)."""
        return torch.einsum("r,rzyx->zyx", torch.as_tensor(means)[self.regions], self.fractions)


def _box_means(array: np.ndarray) -> torch.Tensor:
    return F.avg_pool3d(torch.as_tensor(array.astype(np.float32))[None], SPACING)[0]


def _centroid(mass: torch.Tensor) -> torch.Tensor:
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in mass.shape), indexing="ij")
    return torch.stack([(axis * mass).sum() / mass.sum() for axis in axes])
