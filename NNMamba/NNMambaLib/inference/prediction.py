"""Running a network on one tile, with or without test-time mirroring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations

import numpy as np
import torch
from torch import nn

_AXIS = {"z": 2, "y": 3, "x": 4}


def tile_predictor(
    network: nn.Module,
    device: torch.device,
    activation: Callable[[torch.Tensor], torch.Tensor],
    mirror_axes: Sequence[str],
) -> Callable[[np.ndarray], torch.Tensor]:
    """Return a function from a tile (channel, z, y, x) to activated outputs (output, z, y, x), float32, on the CPU.

    Args:
        activation: from outputs (1, output, z, y, x) to what is averaged, such as softmax over the outputs.
        mirror_axes: of ``x``, ``y``, ``z``: the mean is taken over the flips along all their combinations.
    """
    axes = [_AXIS[name] for name in mirror_axes]
    flips = list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))

    def predict(tile: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            x = torch.from_numpy(tile)[None].to(device)
            total = activation(network(x))
            for flip in flips[1:]:
                total += activation(network(x.flip(flip))).flip(flip)
            return (total[0] / len(flips)).float().cpu() if len(flips) > 1 else total[0].float().cpu()

    return predict
