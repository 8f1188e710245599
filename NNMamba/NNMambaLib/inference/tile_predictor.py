"""Running a network on one tile, with or without test-time mirroring, and the activation of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations

import numpy as np
import torch
from torch import nn

from NNMambaLib.inference.finite import check_finite
from NNMambaLib.kernels import availability
from NNMambaLib.runtime.threads import for_each, split

_AXIS = {"z": 2, "y": 3, "x": 4}


def tile_predictor(
    network: nn.Module,
    device: torch.device,
    activation: Callable[[torch.Tensor], torch.Tensor],
    mirror_axes: Sequence[str],
) -> Callable[[np.ndarray], torch.Tensor]:
    """Return a function from a tile (channel, z, y, x) to activated outputs (output, z, y, x), float32, on the CPU.

    Args:
        activation: applied to the outputs (1, output, z, y, x) before they are averaged, such as softmax.
        mirror_axes: of ``x``, ``y``, ``z``: the mean is taken over the flips along all their combinations.

    Raises (the function that is returned):
        ModelError: see `check_finite`.
    """
    axes = [_AXIS[name] for name in mirror_axes]
    flips = list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))

    def outputs(x: torch.Tensor) -> torch.Tensor:
        y = network(x)
        check_finite(y)
        return activation(y)

    def predict(tile: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            x = torch.from_numpy(tile)[None].to(device)
            total = outputs(x)
            for flip in flips[1:]:
                total += outputs(x.flip(flip)).flip(flip)
            if len(flips) > 1:
                total /= len(flips)
            return total[0].float().cpu()

    return predict


def softmax(y: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the outputs of (batch, output, z, y, x); it may overwrite `y`."""
    last = y.movedim(1, -1)
    if y.dtype != torch.float32 or y.device.type != "cpu" or not last.is_contiguous():
        return torch.softmax(y, dim=1)
    kernels = availability.label_kernels()
    if kernels is None:
        # torch's own softmax is slow over a short axis that lies last in memory.
        y -= y.amax(1, keepdim=True)
        y.exp_()
        y /= y.sum(1, keepdim=True)
        return y
    rows = last.numpy().reshape(-1, y.shape[1])
    for_each(lambda first, last: kernels.softmax(rows, first, last), split(len(rows), least=4096))
    return y
