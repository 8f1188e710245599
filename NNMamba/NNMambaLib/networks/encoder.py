"""The residual encoder that every nnMamba network starts with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from NNMambaLib.networks.layers import BasicBlock, DoubleConv

MambaFactory = Callable[[int], nn.Module]

_BLOCKS = 3


class Encoder(nn.Module):
    """Stem and three residual stages; base class of the encoder-decoder and the classifier.

    Args:
        in_channels: channels of the volume.
        base_width: channels after the stem (C); the stages have 2C, 4C and 8C.
        block_mamba: makes the Mamba layer that blocks 1 and 2 of a stage share, from its channels.
        stem_mamba: makes the Mamba layer that is added to the stem's output.
        stage_mamba: makes the Mamba layer that is added to a stage's output.
    """

    # Every size of a volume must be divisible by it; a decoder needs maps that fit its skips.
    size_divisor = 1

    def __init__(
        self,
        in_channels: int,
        base_width: int,
        block_mamba: MambaFactory | None = None,
        stem_mamba: MambaFactory | None = None,
        stage_mamba: MambaFactory | None = None,
    ):
        super().__init__()
        width = base_width
        self.in_channels = in_channels
        self.in_conv = DoubleConv(in_channels, width, stride=2)
        self.layer1 = _stage(width, 2 * width, block_mamba)
        self.layer2 = _stage(2 * width, 4 * width, block_mamba)
        self.layer3 = _stage(4 * width, 8 * width, block_mamba)
        if stem_mamba is not None:
            self.mamba_layer_stem = stem_mamba(width)
        if stage_mamba is not None:
            self.mamba_layer_1 = stage_mamba(2 * width)
            self.mamba_layer_2 = stage_mamba(4 * width)
            self.mamba_layer_3 = stage_mamba(8 * width)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the skips c1, c2, c3 (at 1/2, 1/4, 1/8) and the deepest features c4 (at 1/16).

        The skips are taken before what Mamba adds to the stem or to a stage; c4 is taken after it.

        Raises:
            ValueError: if x has another number of channels, or a size that `size_divisor` does not divide.
        """
        if x.ndim != 5 or x.shape[1] != self.in_channels or any(size % self.size_divisor for size in x.shape[2:]):
            raise ValueError(
                f"The network needs (batch, {self.in_channels}, z, y, x) with z, y and x divisible by "
                f"{self.size_divisor}, not {tuple(x.shape)}."
            )
        c1 = self.in_conv(x)
        stem = self._added("mamba_layer_stem", c1)
        c2 = self.layer1(stem)
        c3 = self.layer2(self._added("mamba_layer_1", c2))
        c4 = self.layer3(self._added("mamba_layer_2", c3))
        return c1, c2, c3, self._added("mamba_layer_3", c4)

    def _added(self, name: str, x: torch.Tensor) -> torch.Tensor:
        layer = getattr(self, name, None)
        return x if layer is None else layer(x) + x


def _stage(in_channels: int, out_channels: int, block_mamba: MambaFactory | None) -> nn.Sequential:
    shared = None if block_mamba is None else block_mamba(out_channels)
    rest = [BasicBlock(out_channels, out_channels, mamba_layer=shared) for _ in range(_BLOCKS - 1)]
    return nn.Sequential(BasicBlock(in_channels, out_channels, stride=2), *rest)
