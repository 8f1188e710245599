"""Other networks for 3D segmentation, as their authors configure them for a patch of 128^3, with random weights.

nnU-Net's and MONAI's come from the packages of their authors. U-Mamba is written from its paper (arXiv 2401.04722):
an nnU-Net of residual blocks whose bottleneck ends in one Mamba block over the voxels as tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from plain_eager import Mamba
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_FEATURES = (32, 64, 128, 256, 320, 320)
_STRIDES = (1, 2, 2, 2, 2, 2)
_NORM = {"norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
_NONLINEARITY = {"nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True}}


@dataclass(frozen=True)
class Peer:
    """A network by other authors: `build` makes it for one channel and a number of labels, from `package`."""

    name: str
    package: str
    build: Callable[[int], nn.Module]

    @property
    def missing(self) -> str | None:
        """Why the network cannot be built here, or None."""
        if find_spec(self.package) is None:
            return f"{self.package} is not installed (extra benchmark)"
        return None


def plain_conv_unet(labels: int) -> nn.Module:
    """Return nnU-Net's default network: 31 million parameters."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    return PlainConvUNet(
        1, len(_FEATURES), _FEATURES, nn.Conv3d, 3, _STRIDES, 2, labels, 2, conv_bias=True, **_NORM, **_NONLINEARITY
    )


def seg_resnet(labels: int) -> nn.Module:
    from monai.networks.nets import SegResNet

    return SegResNet(3, 32, 1, labels, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))


def swin_unetr(labels: int) -> nn.Module:
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(in_channels=1, out_channels=labels, feature_size=48)


class TokenMamba(nn.Module):
    """LayerNorm and a plain Mamba block over the voxels of (batch, C, z, y, x) as tokens."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm, self.mamba = nn.LayerNorm(channels), Mamba(channels)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return self.mamba(self.norm(tokens)).transpose(1, 2).reshape(x.shape)


class UMambaBot(nn.Module):
    """(batch, 1, z, y, x) to (batch, labels, z, y, x); sizes divide by 32."""

    def __init__(self, labels: int):
        from dynamic_network_architectures.building_blocks.residual import StackedResidualBlocks
        from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder

        super().__init__()
        common = {"conv_bias": True, **_NORM, **_NONLINEARITY}
        self.encoder = ResidualEncoder(
            1, len(_FEATURES), _FEATURES, nn.Conv3d, 3, _STRIDES, 2, return_skips=True, **common
        )
        self.bottleneck = TokenMamba(_FEATURES[-1])
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for deep, skip in zip(_FEATURES[:0:-1], _FEATURES[-2::-1], strict=True):
            self.up.append(nn.ConvTranspose3d(deep, skip, 2, stride=2))
            self.decoder.append(StackedResidualBlocks(1, nn.Conv3d, 2 * skip, skip, 3, 1, **common))
        self.head = nn.Conv3d(_FEATURES[0], labels, 1)

    def forward(self, x):
        *skips, x = self.encoder(x)
        x = self.bottleneck(x)
        for up, blocks, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = blocks(torch.cat([up(x), skip], dim=1))
        return self.head(x)


PLAIN_CONV_UNET = Peer("nnU-Net PlainConvUNet", "dynamic_network_architectures", plain_conv_unet)
SEG_RESNET = Peer("MONAI SegResNet(32)", "monai", seg_resnet)
U_MAMBA = Peer("U-Mamba_Bot (written from its paper)", "dynamic_network_architectures", UMambaBot)
SWIN_UNETR = Peer("MONAI SwinUNETR(48)", "monai", swin_unetr)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def multiplications(network: nn.Module, x: torch.Tensor) -> int:
    """Return the multiply-adds of convolutions and matrix products in one forward pass; it runs the network."""
    with FlopCounterMode(display=False) as counter:
        network(x)
    return counter.get_total_flops() // 2
