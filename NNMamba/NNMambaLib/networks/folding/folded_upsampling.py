"""The last two convolutions of the encoder-decoder, which upsample by two on the way, slab by slab."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.convolution import convolve
from NNMambaLib.networks.folding.folded_convolution import FoldedConvolution

# An upsampled line's values 2i and 2i + 1 and their neighbours, as combinations of values i - 1, i and i + 1 of the
# line itself: [phase][tap of the convolution][value], trilinear interpolation with align_corners=False.
_PHASES = (
    ((0.75, 0.25, 0.0), (0.25, 0.75, 0.0), (0.0, 0.75, 0.25)),
    ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.75)),
)
# Values that the first convolution computes at a time: they stay in the cache until the second has read them.
SLAB_VALUES = 2**22


class FoldedUpsampledDoubleConv(nn.Module):
    """`UpsampledDoubleConv` with its BatchNorm folded, and without the upsampled volume.

    Each of the eight voxels that come from one is a 3x3x3 convolution of the volume itself (the polyphase form). It
    takes as many products, in eight times as many channels at an eighth of the voxels, for which kernels are faster.
    Voxels on the border are computed from the two upsampled planes there, because the convolution is padded with zeros
    and the interpolation is not. Planes are computed in slabs along z, so that the volume between the two convolutions
    is never held as a whole.

    Args:
        first, second: weight (output, channel, 3, 3, 3) and bias (output,) of the two convolutions, folded.
        dtype: of the weights, and of the computation.
        output_dtype: of what is returned.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(
        self,
        first: tuple[torch.Tensor, torch.Tensor],
        second: tuple[torch.Tensor, torch.Tensor],
        dtype: torch.dtype,
        output_dtype: torch.dtype,
    ):
        super().__init__()
        self.output_dtype = output_dtype
        weight, bias = first
        phases = torch.tensor(_PHASES, dtype=torch.float64)
        by_phase = torch.einsum("oizyx,pza,qyb,rxc->pqroiabc", weight.double(), phases, phases, phases)
        self.inner = FoldedConvolution(by_phase.flatten(0, 3), bias.repeat(8), dtype)
        self.second = FoldedConvolution(*second, dtype, padding=(0, 1, 1))
        self.register_buffer("weight", weight.to(dtype))
        self.register_buffer("bias", bias.to(dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, output, 2 z, 2 y, 2 x) for (batch, channel, z, y, x)."""
        x = x.to(self.weight.dtype)
        batch, _, depth, height, width = x.shape
        channels, outputs = len(self.bias), self.second.weight.shape[0]
        padded = functional.pad(x, (1,) * 6, mode="replicate")
        faces = {(axis, high): self._face(x, axis, high) for axis in (2, 3, 4) for high in (False, True)}
        shape = (batch, 2 * depth, 2 * height, 2 * width, outputs)
        output = x.new_empty(shape, dtype=self.output_dtype)
        thickness = max(1, SLAB_VALUES // (8 * batch * height * width * channels))
        # Two planes of the slab before, then this slab's; at either end one plane of padding.
        planes = x.new_empty(batch, 2 * thickness + 3, 2 * height, 2 * width, channels)
        planes[:, 0] = 0
        begin, written = 1, 0
        for low in range(0, depth, thickness):
            high = min(low + thickness, depth)
            end = begin + 2 * (high - low)
            self._fill(planes[:, begin:end], padded[:, :, low : high + 2], faces, low, high)
            if high == depth:
                planes[:, end] = 0
                end += 1
            computed = _channels_last(self.second(_channels_first(planes[:, :end])))
            _relu(computed, output[:, written : written + end - 2])
            written += end - 2
            planes[:, :2] = planes[:, end - 2 : end].clone()
            begin = 2
        return _channels_first(output)

    def _fill(
        self,
        planes: torch.Tensor,
        padded: torch.Tensor,
        faces: dict[tuple[int, bool], torch.Tensor],
        low: int,
        high: int,
    ) -> None:
        """Compute planes 2 low to 2 high of the first convolution, (batch, z, y, x, channel), into `planes`."""
        values = _channels_last(self.inner(padded)).unflatten(4, (2, 2, 2, -1))
        interleaved = planes.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).unflatten(5, (-1, 2))
        _relu(values.permute(0, 1, 4, 2, 5, 3, 6, 7), interleaved)
        if low == 0:
            planes[:, 0] = faces[2, False]
        if 2 * low + planes.shape[1] == faces[3, True].shape[1]:
            planes[:, -1] = faces[2, True]
        for last in (False, True):
            planes[:, :, -last] = faces[3, last][:, 2 * low : 2 * high]
            planes[:, :, :, -last] = faces[4, last][:, 2 * low : 2 * high]

    def _face(self, x: torch.Tensor, axis: int, high: bool) -> torch.Tensor:
        """Return the outermost plane of the first convolution, (batch, the two other axes in order, channel)."""
        first, second = (x.select(axis, -index if high else index - 1) for index in (1, 2))
        # The two outermost planes of the upsampled volume, as channels: the third tap along the axis meets padding.
        pair = torch.cat([first, torch.lerp(second, first, _PHASES[1][0][1])], dim=1)
        pair = functional.interpolate(pair, scale_factor=2, mode="bilinear", align_corners=False)
        taps = self.weight.movedim(axis, 2)[:, :, [1, 0] if high else [1, 2]]
        plane = convolve(pair, taps.transpose(1, 2).flatten(1, 2), self.bias, padding=1)
        return functional.relu_(plane).permute(0, 2, 3, 1)


def _relu(values: torch.Tensor, target: torch.Tensor) -> None:
    """Write ReLU(values) to the target, in one pass."""
    if values.dtype == target.dtype:
        torch.clamp_min(values, 0, out=target)
    else:
        target.copy_(values).relu_()


def _channels_last(volume: torch.Tensor) -> torch.Tensor:
    """(batch, channel, z, y, x) -> (batch, z, y, x, channel), a view."""
    return volume.permute(0, 2, 3, 4, 1)


def _channels_first(volume: torch.Tensor) -> torch.Tensor:
    """(batch, z, y, x, channel) -> (batch, channel, z, y, x), a view."""
    return volume.permute(0, 4, 1, 2, 3)
