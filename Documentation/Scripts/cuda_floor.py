"""What the gated scans of a network must do at the least on a GPU: bytes that are moved, and exponentials.

    python Documentation/Scripts/cuda_floor.py

No card is asked: times are the larger of bytes over a card's bandwidth and exponentials over its rate, both as its
maker states them. A kernel can come near them and not fall below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from NNMambaLib.networks.scan.cuda_scans import chunk_length

_FLOAT = 4


@dataclass(frozen=True)
class Layer:
    """A Mamba layer at one stage of a network in the folded form: E channels of L tokens, in groups and directions.

    Attributes:
        rank: of the step sizes; states: of a channel.
        count: of such layers in a forward pass.
    """

    name: str
    tokens: int
    channels: int
    states: int
    rank: int
    groups: int
    directions: int
    count: int


@dataclass(frozen=True)
class Card:
    """A card as its maker states it: GB/s of memory, 10^12 float32 operations a second, and multiprocessors.

    Attributes:
        lanes: of float32 in a multiprocessor, for 16 lanes that take exponentials.
    """

    name: str
    bandwidth: float
    operations: float
    multiprocessors: int
    lanes: int = 128

    @property
    def exponentials(self) -> float:
        """Exponentials a second; a multiply-add counts as two operations."""
        return self.operations * 1e12 / 2 / self.lanes * 16


# SEG-CSS at a patch of 128^3: layers 1 to 3, two blocks each, of which either has the four flips; and the classifier's
# stem at 128^3.
LAYERS = (
    Layer("SEG-CSS, layer 1", 32**3, 128, 16, 4, 2, 2, 2),
    Layer("SEG-CSS, layer 2", 16**3, 256, 16, 8, 2, 2, 2),
    Layer("SEG-CSS, layer 3", 8**3, 512, 16, 16, 2, 2, 2),
    Layer("CLS, stem", 64**3, 64, 8, 2, 1, 1, 1),
)
CARDS = (
    Card("T4", 320, 8.1, 40, lanes=64),
    Card("RTX 3090", 936, 35.6, 82),
    Card("RTX 4090", 1008, 82.6, 128),
    Card("H100 SXM", 3350, 67, 132),
    Card("RTX 5090", 1792, 104.8, 170),
)


def exponentials(layer: Layer) -> int:
    """Return how often exp(delta A) is taken: once to each chunk's end, and once more from its true start."""
    sequences = layer.groups * layer.directions
    return 2 * sequences * layer.tokens * layer.channels * layer.states * layer.count


def bytes_moved(layer: Layer, multiprocessors: int, half: bool = False) -> int:
    """Return the bytes that the kernels read and write, each array as often as it is taken from memory."""
    value = _FLOAT // 2 if half else _FLOAT
    voxels = layer.tokens * layer.channels
    sequences = layer.groups * layer.directions
    row = layer.rank + 2 * layer.states
    chunk = chunk_length(layer.tokens, layer.groups * layer.channels, multiprocessors)
    states = math.ceil(layer.tokens / chunk) * layer.channels * (layer.states + 1) * _FLOAT
    convolution = layer.groups * voxels * value + sequences * voxels * _FLOAT
    product = sequences * (voxels + layer.tokens * row) * _FLOAT
    # Both passes read what the convolution wrote, and the rows once for each block of channels; then gate and output.
    passes = 2 * sequences * (voxels + layer.tokens * row * math.ceil(layer.channels / 64)) * _FLOAT
    first_direction = (layer.directions - 1) * 2 * layer.groups * voxels * _FLOAT
    gated = 2 * layer.groups * voxels * value
    carried = 4 * sequences * states
    return layer.count * (convolution + product + passes + first_direction + gated + carried)


def milliseconds(layer: Layer, card: Card, half: bool = False) -> tuple[float, str]:
    """Return the least time on a card, and what it is bound by."""
    moved = bytes_moved(layer, card.multiprocessors, half) / card.bandwidth / 1e9
    computed = exponentials(layer) / card.exponentials
    return max(moved, computed) * 1e3, "bytes" if moved > computed else "exponentials"


def tables() -> str:
    """Return the floors of all layers as Markdown."""
    cards = " | ".join(card.name for card in CARDS)
    lines = [
        f"| layers | tokens, channels, states | exponentials, millions | float32, MB on an H100 | {cards} |",
        f"| --- | --- | --- | --- |{' --- |' * len(CARDS)}",
    ]
    hopper = next(card for card in CARDS if card.name.startswith("H100"))
    for layer in LAYERS:
        times = (milliseconds(layer, card) for card in CARDS)
        cells = " | ".join(f"{time:.3f} ms ({bound})" for time, bound in times)
        size = f"{layer.tokens}, {layer.channels}, {layer.states}"
        computed, moved = exponentials(layer) / 1e6, bytes_moved(layer, hopper.multiprocessors) / 1e6
        lines.append(f"| {layer.name}, {layer.count} of them | {size} | {computed:.0f} | {moved:.0f} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tables(), end="")
