"""Mamba layers for inference: flips share work, and the products behind the scan are one."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.folding.folded_convolution import FoldedConvolution, normalization
from NNMambaLib.networks.layers import ConvMamba, LayerNormMamba, as_tokens, as_volume
from NNMambaLib.networks.mamba import Mamba
from NNMambaLib.networks.scan.gated_scans import ScanParameters, gated_scans


class FoldedMamba(nn.Module):
    """A Mamba block over the voxels as tokens, or its mean over the four flips, and a linear layer behind it.

    Flipping the channels of the tokens is flipping the columns of in_proj, and flipping them back the rows of out_proj;
    flipping the sequence is running the scan backwards. So the mean over the flips takes two in_proj, four scans, two
    gates and two out_proj, and no flipped copy.

    Args:
        mamba: the block.
        dtype: of the weights.
        flips: take the mean over {as it is, channels, sequence, both}.
        behind: (output, channel), a matrix that multiplies what comes out; bias: (output,), added to it.
    """

    def __init__(
        self,
        mamba: Mamba,
        dtype: torch.dtype,
        flips: bool = False,
        behind: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ):
        super().__init__()
        in_weight, out_weight = (layer.weight.detach().double() for layer in (mamba.in_proj, mamba.out_proj))
        if flips:
            in_weight = torch.cat([in_weight, in_weight.flip(1)])
            out_weight = torch.cat([out_weight, out_weight.flip(0)], dim=1) / 4
        if behind is not None:
            out_weight = behind @ out_weight
        self.in_proj = FoldedConvolution(_as_kernel(in_weight), None, dtype)
        self.out_proj = FoldedConvolution(_as_kernel(out_weight), bias, dtype)
        parameters = ScanParameters(
            conv_weight=mamba.conv1d.weight[:, 0],
            conv_bias=mamba.conv1d.bias,
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
        mixed = as_tokens(self.in_proj(x)).contiguous()
        return self.out_proj(as_volume(gated_scans(mixed, parameters, self.directions, self.scan_backend), x))


class FoldedConvMamba(nn.Module):
    """`ConvMamba` with its normalisations folded; the convolution after the scan is part of out_proj.

    It computes in the type `dtype`, whatever it is given.
    """

    def __init__(self, layer: ConvMamba, dtype: torch.dtype):
        super().__init__()
        self.nin = FoldedConvolution.of(layer.nin, layer.norm, dtype, relu=True)
        self.fuse = layer.fuse
        if self.fuse:
            scale, shift = normalization(layer.norm2)
            behind = scale[:, None] * layer.nin2.weight.detach().double().flatten(1)
            self.nin2 = FoldedConvolution(_as_kernel(behind), None, dtype)
            self.mamba = FoldedMamba(layer.mamba, dtype, layer.flips, behind, shift)
        else:
            self.mamba = FoldedMamba(layer.mamba, dtype, layer.flips)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.nin(x)
        m = self.mamba(a)
        return functional.relu_(m.add_(self.nin2(a))) if self.fuse else m


class FoldedLayerNormMamba(nn.Module):
    """`LayerNormMamba` with its products as convolutions; it computes in the type `dtype`, whatever it is given."""

    def __init__(self, layer: LayerNormMamba, dtype: torch.dtype):
        super().__init__()
        self.norm = layer.norm.to(dtype)
        self.mamba = FoldedMamba(layer.mamba, dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mamba(as_volume(self.norm(as_tokens(x).to(self.norm.weight.dtype)), x))


def _as_kernel(matrix: torch.Tensor) -> torch.Tensor:
    return matrix[:, :, None, None, None]
