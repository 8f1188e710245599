"""3-D convolution by oneDNN's fast CPU kernel for volumes of every size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> torch.Tensor:
    """Return x (batch, channel, z, y, x) convolved with weight (output, channel, z, y, x), without gradient.

    Planes, without the axis z, are convolved in the same way. On a CPU this always takes oneDNN's kernel. By itself
    torch takes a slow one, up to 80 times slower, for a batch of one with few voxels times channels, as in deep stages
    and thin networks. For matrix products, which are 1x1x1 convolutions of channels-last volumes, oneDNN is also faster
    than MKL on processors that are not Intel's.
    """
    axes = x.ndim - 2
    stride, padding = ((value,) * axes if isinstance(value, int) else tuple(value) for value in (stride, padding))
    if x.dtype == weight.dtype and served_by_onednn(x):
        return torch.mkldnn_convolution(x, weight, bias, padding, stride, (1,) * axes, 1)
    plain = functional.conv2d if axes == 2 else functional.conv3d
    return plain(x, weight, bias, stride, padding)


def served_by_onednn(x: torch.Tensor) -> bool:
    """Tell whether `convolve` takes oneDNN's kernel for x."""
    return (
        x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and torch.backends.mkldnn.is_available()
    )


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that is computed by `convolve` where no gradient is wanted.

    Where a gradient is wanted, maps of one or two planes stay in float32 under a CPU's autocast: there oneDNN's
    gradient of the weights in bfloat16 reads uninitialized memory (seen with torch 2.13).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type == "cpu" and x.dtype == self.weight.dtype and not torch.is_grad_enabled():
            # No network of ours names its padding ("same").
            padding = cast(tuple[int, ...], self.padding)
            return convolve(x, self.weight, self.bias, self.stride, padding)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled() and x.shape[2] <= 2:
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


def bfloat16_unavailable_reason(device: torch.device) -> str | None:
    """Return None where folded networks can compute their convolutions in bfloat16, else the reason why not."""
    if device.type != "cpu":
        return f"it is for the CPU, not for {device}"
    # oneDNN emulates it elsewhere, more slowly than float32.
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this processor does not compute in it"
    return None
