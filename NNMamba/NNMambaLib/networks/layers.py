"""The building blocks that nnMamba's networks share. Volumes are (batch, channels, z, y, x)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.convolution import Conv3d
from NNMambaLib.networks.mamba import Mamba


class DoubleConv(nn.Module):
    """Two rounds of 3x3x3 convolution, BatchNorm and ReLU; the first convolution carries the stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Sequential(
            Conv3d(in_channels, out_channels, 3, stride=stride, padding=1),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
            Conv3d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class UpsampledDoubleConv(DoubleConv):
    """`DoubleConv` of the volume upsampled by two."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(upsample(x))


class BasicBlock(nn.Module):
    """Residual block; `mamba_layer`, where given, is applied to the block's input and added to the residual branch."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, mamba_layer: nn.Module | None = None):
        super().__init__()
        self.conv1 = Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(out_channels)
        self.conv2 = Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(out_channels)
        self.mamba_layer = mamba_layer
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                Conv3d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm3d(out_channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.mamba_layer is not None:
            y = y + self.mamba_layer(x)
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class SkipGate(nn.Module):
    """Channel attention on a skip connection (the paper's channel scaling): pool, two linear layers, sigmoid."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.layer1 = nn.Linear(channels, hidden)
        self.layer2 = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((2, 3, 4), dtype=self.layer1.weight.dtype)
        gate = torch.sigmoid(self.layer2(functional.relu(self.layer1(mean))))
        return x * gate[:, :, None, None, None].to(x.dtype)


class LayerNormMamba(nn.Module):
    """LayerNorm and Mamba over the voxels as tokens (paper v1, "Res-Mamba"); the caller adds its input."""

    def __init__(self, channels: int, d_state: int = 16, d_conv: int = 4, expand: int = 2):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mamba = Mamba(channels, d_state, d_conv, expand)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return as_volume(self.mamba(self.norm(as_tokens(x))), x)


class ConvMamba(nn.Module):
    """1x1x1 convolution, BatchNorm and ReLU, then Mamba over the voxels as tokens.

    Args:
        flips: average Mamba over the tokens flipped along {nothing, channels, sequence, both} (paper v2, MICCSS).
        fuse: add Mamba's input to its output; 1x1x1 convolution, BatchNorm and ReLU of the sum (paper v2, MIC).
    """

    def __init__(
        self,
        channels: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        flips: bool = False,
        fuse: bool = False,
    ):
        super().__init__()
        self.flips = flips
        self.nin = Conv3d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm3d(channels)
        if fuse:
            self.nin2 = Conv3d(channels, channels, 1, bias=False)
            self.norm2 = nn.BatchNorm3d(channels)
        self.fuse = fuse
        self.mamba = Mamba(channels, d_state, d_conv, expand)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = functional.relu(self.norm(self.nin(x)), inplace=True)
        tokens = as_tokens(a)
        m = as_volume(self._mean_over_flips(tokens) if self.flips else self.mamba(tokens), x)
        return functional.relu(self.norm2(self.nin2(m + a)), inplace=True) if self.fuse else m

    def _mean_over_flips(self, tokens: torch.Tensor) -> torch.Tensor:
        # One batch of four: the token axis is 1, the channel axis 2.
        flipped = torch.cat([tokens, tokens.flip(2), tokens.flip(1), tokens.flip(1, 2)])
        plain, channels, sequence, both = self.mamba(flipped).chunk(4)
        return (plain + channels.flip(2) + sequence.flip(1) + both.flip(1, 2)) / 4


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Return the volume at twice the size, trilinearly interpolated."""
    return functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def as_tokens(x: torch.Tensor) -> torch.Tensor:
    """(batch, C, z, y, x) -> (batch, L, C), x fastest; a view of a channels-last volume."""
    return x.permute(0, 2, 3, 4, 1).flatten(1, 3)


def as_volume(tokens: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(batch, L, C) -> (batch, C, z, y, x) of the size of `like`; a view, channels last."""
    return tokens.unflatten(1, like.shape[2:]).permute(0, 4, 1, 2, 3)
