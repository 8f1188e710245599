"""3-D convolution that uses the CPU's fast kernel for maps of every size."""

from __future__ import annotations

import torch
from torch import nn


class Conv3d(nn.Conv3d):
    """`nn.Conv3d`, except that on a CPU it always takes oneDNN's kernel where no gradient is wanted.

    By itself torch takes a slow kernel for a batch of one with few voxels times channels, as deep stages and thin
    networks have them: up to 80 times slower.
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
        return super().forward(x)
