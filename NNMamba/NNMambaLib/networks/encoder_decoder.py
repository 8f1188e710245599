"""The encoder-decoder of nnMamba: segmentation logits or landmark heatmaps."""

from __future__ import annotations

import torch

from NNMambaLib.networks.convolution import Conv3d
from NNMambaLib.networks.description import FULL_RESOLUTION_WIDTH, SIZE_DIVISOR
from NNMambaLib.networks.encoder import Encoder, MambaFactory
from NNMambaLib.networks.layers import DoubleConv, SkipGate, UpsampledDoubleConv, upsample


class EncoderDecoder(Encoder):
    """Encoder-decoder with one output channel for each label or landmark, at the input's size.

    Args:
        in_channels, base_width, block_mamba, stem_mamba, stage_mamba: see `Encoder`.
        out_channels: labels (background included) or landmarks (K).
        gates: gate the skips by channel attention.
        head_channels: outputs of the three deep supervision heads, or None for no heads.
        full_resolution: not in the paper. A stem beside the encoder and the last skip are at full resolution, and the
            outputs are a linear layer of features there, without a ReLU. As published, the finest features of the
            decoder lie at half resolution.
    """

    size_divisor = SIZE_DIVISOR

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        base_width: int = 32,
        block_mamba: MambaFactory | None = None,
        stem_mamba: MambaFactory | None = None,
        stage_mamba: MambaFactory | None = None,
        gates: bool = False,
        head_channels: int | None = None,
        full_resolution: bool = False,
    ):
        super().__init__(in_channels, base_width, block_mamba, stem_mamba, stage_mamba)
        width = base_width
        self.att1 = SkipGate(width) if gates else None
        self.att2 = SkipGate(2 * width) if gates else None
        self.att3 = SkipGate(4 * width) if gates else None
        self.conv5 = DoubleConv(12 * width, 4 * width)
        self.conv6 = DoubleConv(6 * width, 2 * width)
        self.conv7 = DoubleConv(3 * width, width)
        self.full_resolution = full_resolution
        if full_resolution:
            narrow = min(width, FULL_RESOLUTION_WIDTH)
            self.full_conv = DoubleConv(in_channels, narrow)
            self.narrow = Conv3d(width, narrow, 1, bias=False)
            self.conv8 = DoubleConv(narrow, narrow)
            self.output = Conv3d(narrow, out_channels, 1)
        else:
            self.conv8 = UpsampledDoubleConv(width, out_channels)
        self.heads = head_channels is not None
        if head_channels is not None:
            self.ds1_cls_conv = Conv3d(width, head_channels, 1)
            self.ds2_cls_conv = Conv3d(2 * width, head_channels, 1)
            self.ds3_cls_conv = Conv3d(4 * width, head_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return (batch, K, z, y, x), and in training with heads a list of it and the outputs at 1/2, 1/4, 1/8.

        The first is at least 0 everywhere, but not with `full_resolution`.
        """
        c1, c2, c3, c4 = self.encode(x)
        c5 = self.conv5(_join(c4, c3, self.att3))
        c6 = self.conv6(_join(c5, c2, self.att2))
        c7 = self.conv7(_join(c6, c1, self.att1))
        c8 = self._full(x, c7) if self.full_resolution else self.conv8(c7)
        if self.heads and self.training:
            return [c8, self.ds1_cls_conv(c7), self.ds2_cls_conv(c6), self.ds3_cls_conv(c5)]
        return c8

    def _full(self, x: torch.Tensor, c7: torch.Tensor) -> torch.Tensor:
        # Narrowed before it is upsampled: both are linear, and at full resolution a channel costs eight times as much.
        # The casts are for folded networks, whose other convolutions may compute in bfloat16.
        deep = upsample(self.narrow(c7.to(self.narrow.weight.dtype)))
        # In place: memory peaks here. No gradient needs what was upsampled.
        return self.output(self.conv8(deep.add_(self.full_conv(x))).to(self.output.weight.dtype))


def _join(deep: torch.Tensor, skip: torch.Tensor, gate: SkipGate | None) -> torch.Tensor:
    return torch.cat([upsample(deep), skip if gate is None else gate(skip)], dim=1)
