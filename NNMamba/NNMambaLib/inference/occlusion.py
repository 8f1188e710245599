"""Which regions speak for an answer: how its probability falls when a part of the volume is hidden.

Occlusion sensitivity of Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, in 3-D.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import nn

from NNMambaLib.inference.answers import answer
from NNMambaLib.inference.crop_and_pad import fit_to_patch, patch_start
from NNMambaLib.inference.preprocessing import Prepared
from NNMambaLib.models.manifest import Target
from NNMambaLib.progress import Monitor
from NNMambaLib.results import Explanation, Prediction
from NNMambaLib.volumes.volume import Volume

# Cells of the model's patch along each axis. The hidden cuboid is two cells wide, so that neighbours overlap by half.
_CELLS = 8
_HIDDEN_CELLS = 2


def explain(
    prepared: Prepared,
    network: nn.Module,
    device: torch.device,
    patch: tuple[int, int, int],
    targets: tuple[Target, ...],
    prediction: Prediction,
    monitor: Monitor,
) -> Explanation:
    """Return what hiding one cuboid after the other does to an answer; a cell's value is the mean over its cuboids.

    Hidden voxels are 0, as padding is: every model is trained on volumes that end within its patch, so that to the
    network the cuboid is a place that was not acquired. The mean of its voxels instead would leave the network's
    averages as they are, and hide nothing where brightness is what speaks.

    Args:
        patch: voxels along (z, y, x), divisible by 8.
        prediction: what the network answers to one of the targets when nothing is hidden.

    Returns:
        The explanation, its volume still the 8 x 8 x 8 cells of the patch.
    """
    sizes = [width // _CELLS for width in patch]
    places = list(product(range(_CELLS - _HIDDEN_CELLS + 1), repeat=3))
    names = [target.name for target in targets]
    index = names.index(prediction.target)
    total, count = np.zeros((_CELLS,) * 3), np.zeros((_CELLS,) * 3)
    x = torch.from_numpy(fit_to_patch(prepared.array, patch))[None].to(device)
    monitor.stage("Explaining", len(places))
    for place in places:
        cells = tuple(slice(first, first + _HIDDEN_CELLS) for first in place)
        voxels = (..., *(slice(s.start * size, s.stop * size) for s, size in zip(cells, sizes, strict=True)))
        shown = x[voxels].clone()
        # Where nothing but padding is hidden, the answer stays.
        if shown.any():
            x[voxels] = 0
            hidden = answer(network, x, targets)[index]
            x[voxels] = shown
            total[cells] += prediction.probabilities[prediction.predicted] - hidden.probabilities[prediction.predicted]
        count[cells] += 1
        monitor.step()
    # From the cells' indices to the prepared volume's, both (x, y, z).
    to_voxel = np.eye(4)
    to_voxel[:3, :3] = np.diag(sizes[::-1])
    to_voxel[:3, 3] = np.add(patch_start(prepared.grid.shape, patch), (np.array(sizes) - 1) / 2)[::-1]
    cells = Volume((total / count).astype(np.float32)[None], prepared.grid.matrix @ to_voxel)
    return Explanation(prediction.target, prediction.predicted, cells)
