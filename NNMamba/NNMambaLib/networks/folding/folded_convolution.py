"""BatchNorm folded into the convolution before it, for inference. Volumes are channels-last in memory."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.convolution import convolve


class FoldedConvolution(nn.Module):
    """A 3-D convolution and, where given, the ReLU behind it.

    Args:
        weight: (output, channel, z, y, x); bias: (output,). Both are kept in the type `dtype`.
        dtype: of the weights, and of the computation, whatever the input's type.
        relu: whether a ReLU follows.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

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
        """Return the folded form of a convolution and its BatchNorm in evaluation mode."""
        assert not isinstance(convolution.padding, str), "the networks pad by a number of voxels"
        weight, bias = fold_batch_norm(convolution, norm)
        return cls(weight, bias, dtype, convolution.stride[0], convolution.padding[0], relu)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = convolve(x.to(self.weight.dtype), self.weight, self.bias, self.stride, self.padding)
        return functional.relu_(y) if self.relu else y


def fold_batch_norm(convolution: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias, in float64, of the one convolution that does both in evaluation mode."""
    scale, shift = scale_and_shift(norm)
    weight = convolution.weight.detach().double() * scale[:, None, None, None, None]
    bias = shift if convolution.bias is None else convolution.bias.detach().double() * scale + shift
    return weight, bias


def scale_and_shift(norm: nn.BatchNorm3d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a and b (channels,), in float64, of a BatchNorm in evaluation mode: each channel y becomes a y + b."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("A BatchNorm without running statistics cannot be folded.")
    scale = norm.weight.detach().double() / torch.sqrt(variance.double() + norm.eps)
    return scale, norm.bias.detach().double() - mean.double() * scale
