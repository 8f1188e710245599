"""3-D convolution that uses the CPU's fast kernel for maps of every size."""

from __future__ import annotations

import torch
from torch import nn


class Conv3d(nn.Conv3d):
    """`nn.Conv3d`, except that on a CPU it always takes oneDNN's kernel where no gradient is wanted.

    By itself torch takes a slow kernel for a batch of one with few voxels times channels, as deep stages and thin
    networks have them: up to 80 times slower.

    Where a gradient is wanted, maps of one or two planes stay in float32 under a CPU's autocast: there oneDNN's
    gradient of the weights in bfloat16 reads memory that nobody has written (seen with torch 2.13).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (
            x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and not torch.is_grad_enabled()
            and torch.backends.mkldnn.is_available()
        ):
            return torch.mkldnn_convolution(
                x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
            )
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled() and x.shape[2] <= 2:
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)
