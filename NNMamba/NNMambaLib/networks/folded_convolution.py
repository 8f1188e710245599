"""Convolutions with the batch normalisation behind them folded in, for inference. Volumes are channels-last."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.convolution import convolve

# An upsampled line's values 2i and 2i + 1 and their neighbours, as combinations of values i - 1, i and i + 1 of the
# line itself: [phase][tap of the convolution][value], trilinear interpolation with align_corners=False.
_PHASES = (
    ((0.75, 0.25, 0.0), (0.25, 0.75, 0.0), (0.0, 0.75, 0.25)),
    ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.75)),
)


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
        padding: int = 0,
        rectified: bool = False,
    ):
        super().__init__()
        # A clone: where there is one channel, `contiguous` would leave strides that oneDNN takes for channels-first.
        weight = weight.to(dtype).permute(0, 2, 3, 4, 1).clone(memory_format=torch.contiguous_format)
        self.register_buffer("weight", weight.permute(0, 4, 1, 2, 3))
        self.register_buffer("bias", None if bias is None else bias.to(dtype))
        self.stride, self.padding, self.rectified = stride, padding, rectified

    @classmethod
    def of(
        cls, convolution: nn.Conv3d, norm: nn.BatchNorm3d, dtype: torch.dtype, rectified: bool = False
    ) -> FoldedConvolution:
        """Return the folded form of a convolution and its normalisation in evaluation mode."""
        weight, bias = fold_normalisation(convolution, norm)
        return cls(weight, bias, dtype, convolution.stride[0], convolution.padding[0], rectified)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = convolve(x.to(self.weight.dtype), self.weight, self.bias, self.stride, self.padding)
        return functional.relu_(y) if self.rectified else y


class FoldedUpsampledConvolution(nn.Module):
    """Trilinear upsampling by two, a 3x3x3 convolution of padding 1 and a rectifier, without the upsampled volume.

    Each of the eight outputs that come from one voxel is a 3x3x3 convolution of the volume itself (the polyphase form).
    It takes the same products, in eight times as many channels at an eighth of the voxels, for which the kernels are
    faster. Voxels on the border, where the convolution is padded with zeros and the interpolation is not, are computed
    again from the two upsampled planes there.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype):
        super().__init__()
        phases = torch.tensor(_PHASES, dtype=torch.float64)
        by_phase = torch.einsum("oizyx,pza,qyb,rxc->pqroiabc", weight.double(), phases, phases, phases)
        self.inner = FoldedConvolution(by_phase.flatten(0, 3), bias.repeat(8), dtype, rectified=True)
        self.register_buffer("weight", weight.to(dtype))
        self.register_buffer("bias", bias.to(dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(self.weight.dtype)
        y = self._interleaved(self.inner(functional.pad(x, (1,) * 6, mode="replicate")))
        for axis in (2, 3, 4):
            for high in (False, True):
                y.select(axis, -1 if high else 0).copy_(self._face(x, axis, high))
        return y

    def _interleaved(self, phases: torch.Tensor) -> torch.Tensor:
        """(batch, 8 C, z, y, x) -> (batch, C, 2 z, 2 y, 2 x)."""
        batch, _, z, y, x = phases.shape
        values = phases.permute(0, 2, 3, 4, 1).unflatten(4, (2, 2, 2, -1))
        return values.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, 2 * z, 2 * y, 2 * x, -1).permute(0, 4, 1, 2, 3)

    def _face(self, x: torch.Tensor, axis: int, high: bool) -> torch.Tensor:
        """Return the outermost plane of the output, (batch, C, and the two other axes)."""
        first, second = (x.select(axis, -index if high else index - 1) for index in (1, 2))
        # The two outermost planes of the upsampled volume, as channels: the third tap along the axis meets padding.
        planes = torch.cat([first, torch.lerp(second, first, _PHASES[1][0][1])], dim=1)
        planes = functional.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)
        taps = self.weight.movedim(axis, 2)[:, :, [1, 0] if high else [1, 2]]
        return functional.relu_(convolve(planes, taps.transpose(1, 2).flatten(1, 2), self.bias, padding=1))


def fold_normalisation(convolution: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias, in float64, of the convolution that does both in evaluation mode."""
    scale, shift = normalisation(norm)
    weight = convolution.weight.detach().double() * scale[:, None, None, None, None]
    bias = shift if convolution.bias is None else convolution.bias.detach().double() * scale + shift
    return weight, bias


def normalisation(norm: nn.BatchNorm3d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return by what the normalisation multiplies each channel and what it then adds, in float64."""
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.detach().double() - norm.running_mean.double() * scale
