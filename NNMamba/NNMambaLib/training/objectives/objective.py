"""The interface of an objective to `Trainer`, and the output layers of an encoder-decoder while it is trained."""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import nn

from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.encoder_decoder import EncoderDecoder


class Objective(Protocol):
    """A network to train and the loss to train it with."""

    @property
    def network(self) -> NetworkDescription:
        """The network that training ends with, as a model package describes it."""
        ...

    def build_network(self) -> nn.Module:
        """Return a network to train, with fresh random weights; its parameter names include all those of `network`."""
        ...

    def prepare_step(self, network: nn.Module, done: float) -> None:
        """Adapt a network that `build_network` made to how far training is: `done`, 0..1."""
        ...

    def loss(self, outputs: Any, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar, of a batch.

        Args:
            outputs: float32, as the network returns them: a tensor, or a list with the heads of deep supervision.
            target: the batch of targets.
        """
        ...


def ends_in_relu(network: nn.Module) -> bool:
    """Return whether an encoder-decoder's outputs come out of BatchNorm and ReLU, as published."""
    return not cast(EncoderDecoder, network).full_resolution


def output_norm(network: nn.Module) -> nn.BatchNorm3d:
    """Return the last BatchNorm of an encoder-decoder that ends in a ReLU."""
    return cast(nn.BatchNorm3d, _output_layers(network)[4])


def output_convolution(network: nn.Module) -> nn.Conv3d:
    """Return the last convolution of an encoder-decoder that does not end in a ReLU."""
    return cast(EncoderDecoder, network).output


def make_leaky(network: nn.Module) -> None:
    """Let an encoder-decoder's last ReLU, where it ends in one, leak; `set_leak` says how much."""
    if ends_in_relu(network):
        _output_layers(network)[-1] = nn.LeakyReLU(0.0)


def set_leak(network: nn.Module, leak: float, until: float, done: float) -> None:
    """Set that ReLU's slope below zero: from `leak` linearly to none at `until`, when training is at `done`."""
    if ends_in_relu(network):
        cast(nn.LeakyReLU, _output_layers(network)[-1]).negative_slope = leak * max(0.0, 1 - done / until)


def _output_layers(network: nn.Module) -> nn.Sequential:
    return cast(EncoderDecoder, network).conv8.conv
