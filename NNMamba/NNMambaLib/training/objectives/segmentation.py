"""Segmentation: MONAI's soft Dice and cross-entropy, at one resolution or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from NNMambaLib.errors import ModelError
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import build
from NNMambaLib.training.objectives.objective import ends_in_relu, make_leaky, output_convolution, output_norm, set_leak

_FIXED_HEADS = "SEG-NNU2"


@dataclass(frozen=True)
class SegmentationObjective:
    """Learns labels. A sample's target is int64 (z, y, x); the background is 0.

    Attributes:
        network: its outputs are the labels, background included.
        deep_supervision: also learn from the outputs at 1/2 and 1/4 of the resolution.
        output_gain: see `sharpen_output`.
        leak, leak_until: slope below zero of the output's ReLU at the start, and the fraction of training after which
            it is 0.

    Raises:
        ModelError: if the variant's heads of deep supervision cannot hold the labels.
    """

    network: NetworkDescription
    deep_supervision: bool = True
    output_gain: float = 3.0
    leak: float = 0.2
    leak_until: float = 0.7

    def __post_init__(self) -> None:
        outputs = self.network.out_channels
        if self.deep_supervision and self.network.variant == _FIXED_HEADS and outputs != 4:
            raise ModelError(
                f"The heads of {_FIXED_HEADS} have 4 outputs and there are {outputs} labels: take SEG-NNU."
            )

    def build_network(self) -> nn.Module:
        outputs = self.network.out_channels
        network = build(replace(self.network, head_channels=outputs if self.deep_supervision else None))
        sharpen_output(network, self.output_gain)
        make_leaky(network)
        return network

    def prepare_step(self, network: nn.Module, done: float) -> None:
        set_leak(network, self.leak, self.leak_until, done)

    def loss(self, outputs: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
        return _supervised_loss(len(outputs))(outputs, target[:, None].float())


@torch.no_grad()
def sharpen_output(network: nn.Module, gain: float) -> None:
    """Start the output's BatchNorm at scale `gain`, and its shift at `gain` for the background.

    The logits come out of BatchNorm and ReLU. At scale 1 the background, most of the volume, reaches a logit of about
    0.4 against at least 0 for the rest, and Adam would spend hundreds of steps on growing the scale alone.

    Linear outputs start with the background at `gain` alone: they have no scale that must grow.
    """
    if not ends_in_relu(network):
        bias = output_convolution(network).bias
        assert bias is not None
        bias.zero_()
        bias[0] = gain
        return
    norm = output_norm(network)
    norm.weight.fill_(gain)
    norm.bias.zero_()
    norm.bias[0] = gain


def _supervised_loss(levels: int) -> nn.Module:
    """Return the loss of outputs at resolutions 1, 1/2, 1/4, ... against labels (batch, 1, z, y, x).

    Each weight is half the one before, the coarsest output has none, and they sum to 1. The batch counts as one volume
    for Dice, which leaves out the background.
    """
    from monai.losses import DeepSupervisionLoss, DiceCELoss

    weights = [0.5**level for level in range(levels)]
    if levels > 1:
        weights[-1] = 0.0
    loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    return DeepSupervisionLoss(loss, weights=[weight / sum(weights) for weight in weights])
