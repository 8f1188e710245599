"""A dense network's last rectifier, made leaky while training.

Rectified outputs give a channel that is nowhere positive no gradient, so it would never come back. A leak keeps all
channels alive until they have been learnt. It has no parameters, and the network that is packaged has none of it.
"""

from __future__ import annotations

from torch import nn


def make_leaky(network: nn.Module) -> None:
    """Let the network's last rectifier leak; `set_leak` says how much."""
    network.conv8.conv[-1] = nn.LeakyReLU(0.0)


def set_leak(network: nn.Module, leak: float, until: float, done: float) -> None:
    """Set the rectifier's slope below zero: from `leak` linearly to none at `until`, when training is at `done`."""
    network.conv8.conv[-1].negative_slope = leak * max(0.0, 1 - done / until)
