"""Mamba layers for inference: the four flips share their products, and out_proj takes in the convolution behind it.

The package's docstring has the algebra.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.folding.folded_convolution import FoldedConvolution, scale_and_shift
from NNMambaLib.networks.layers import ConvMamba, LayerNormMamba, as_tokens, as_volume
from NNMambaLib.networks.mamba import Mamba
from NNMambaLib.networks.scan.gated_scans import gated_scans
from NNMambaLib.networks.scan.scan_parameters import ScanParameters


class FoldedMamba(nn.Module):
    """A Mamba block over the voxels as tokens, or its mean over the four flips, and a linear layer behind it.

    Args:
        mamba: the block.
        dtype: of the weights.
        flips: take the mean over {as it is, channels, sequence, both}.
        next_weight: (output, channel), of the linear layer behind the block; None for none.
        next_bias: (output,), of that layer.
    """

    def __init__(
        self,
        mamba: Mamba,
        dtype: torch.dtype,
        flips: bool = False,
        next_weight: torch.Tensor | None = None,
        next_bias: torch.Tensor | None = None,
    ):
        super().__init__()
        in_weight, out_weight = (layer.weight.detach().double() for layer in (mamba.in_proj, mamba.out_proj))
        if flips:
            in_weight = torch.cat([in_weight, in_weight.flip(1)])
            out_weight = torch.cat([out_weight, out_weight.flip(0)], dim=1) / 4
        if next_weight is not None:
            out_weight = next_weight @ out_weight
        self.in_proj = FoldedConvolution(_as_kernel(in_weight), None, dtype)
        self.out_proj = FoldedConvolution(_as_kernel(out_weight), next_bias, dtype)
        parameters = ScanParameters(
            conv_weight=mamba.conv_weight,
            conv_bias=mamba.conv_bias,
            x_proj=mamba.x_proj.weight,
            dt_weight=mamba.dt_proj.weight,
            dt_bias=mamba.dt_proj.bias,
            A=-torch.exp(mamba.A_log.double()),
            D=mamba.D,
        )
        for name, value in vars(parameters).items():
            self.register_buffer(name, value.detach().to(dtype).contiguous())
        self.directions = 2 if flips else 1
        self.scan_backend = mamba.scan_backend

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, output, z, y, x) for (batch, channel, z, y, x)."""
        parameters = ScanParameters(**{field.name: getattr(self, field.name) for field in fields(ScanParameters)})
        mixed = as_tokens(self.in_proj(x)).contiguous()  # (batch, L, groups * 2E)
        y = gated_scans(mixed, parameters, self.directions, self.scan_backend)  # (batch, L, groups * E)
        return self.out_proj(as_volume(y, x))


class FoldedConvMamba(nn.Module):
    """`ConvMamba` with its BatchNorm folded; the convolution after the scan is part of out_proj.

    It computes in the type `dtype`, whatever the input's.
    """

    def __init__(self, layer: ConvMamba, dtype: torch.dtype):
        super().__init__()
        self.nin = FoldedConvolution.of(layer.nin, layer.norm, dtype, relu=True)
        self.fuse = layer.fuse
        if self.fuse:
            scale, shift = scale_and_shift(layer.norm2)
            weight = scale[:, None] * layer.nin2.weight.detach().double().flatten(1)
            self.nin2 = FoldedConvolution(_as_kernel(weight), None, dtype)
            self.mamba = FoldedMamba(layer.mamba, dtype, layer.flips, weight, shift)
        else:
            self.mamba = FoldedMamba(layer.mamba, dtype, layer.flips)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.nin(x)
        m = self.mamba(a)
        return functional.relu_(m.add_(self.nin2(a))) if self.fuse else m


class FoldedLayerNormMamba(nn.Module):
    """`LayerNormMamba` with its products as convolutions; it computes in the type `dtype`, whatever the input's."""

    def __init__(self, layer: LayerNormMamba, dtype: torch.dtype):
        super().__init__()
        self.norm = layer.norm.to(dtype)
        self.mamba = FoldedMamba(layer.mamba, dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mamba(as_volume(self.norm(as_tokens(x).to(self.norm.weight.dtype)), x))


def _as_kernel(matrix: torch.Tensor) -> torch.Tensor:
    """(output, channel) -> (output, channel, 1, 1, 1)."""
    return matrix[:, :, None, None, None]
