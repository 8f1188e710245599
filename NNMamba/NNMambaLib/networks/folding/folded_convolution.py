"""Convolutions with the batch normalisation behind them folded in, for inference. Volumes are channels-last."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.convolution import convolve


class FoldedConvolution(nn.Module):
    """A convolution and, where given, the normalisation and the rectifier behind it.

    Args:
        weight: (output, channel, z, y, x); bias: (output,). Both are kept in the type `dtype`.
        rectified: whether a ReLU follows.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
        stride: int = 1,
        padding: int | tuple[int, int, int] = 0,
        relu: bool = False,
    ):
        super().__init__()
        # A clone: where there is one channel, `contiguous` would leave strides that oneDNN takes for channels-first.
        weight = weight.to(dtype).permute(0, 2, 3, 4, 1).clone(memory_format=torch.contiguous_format)
        self.register_buffer("weight", weight.permute(0, 4, 1, 2, 3))
        self.register_buffer("bias", None if bias is None else bias.to(dtype))
        self.stride, self.padding, self.relu = stride, padding, relu

    @classmethod
    def of(
        cls, convolution: nn.Conv3d, norm: nn.BatchNorm3d, dtype: torch.dtype, relu: bool = False
    ) -> FoldedConvolution:
        """Return the folded form of a convolution and its normalisation in evaluation mode."""
        weight, bias = fold_batch_norm(convolution, norm)
        return cls(weight, bias, dtype, convolution.stride[0], convolution.padding[0], relu)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = convolve(x.to(self.weight.dtype), self.weight, self.bias, self.stride, self.padding)
        return functional.relu_(y) if self.relu else y


def fold_batch_norm(convolution: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias, in float64, of the convolution that does both in evaluation mode."""
    scale, shift = normalization(norm)
    weight = convolution.weight.detach().double() * scale[:, None, None, None, None]
    bias = shift if convolution.bias is None else convolution.bias.detach().double() * scale + shift
    return weight, bias


def normalization(norm: nn.BatchNorm3d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return by what the normalisation multiplies each channel and what it then adds, in float64."""
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.detach().double() - norm.running_mean.double() * scale
