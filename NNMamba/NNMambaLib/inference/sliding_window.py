"""Running a network over a volume tile by tile, in one pass along the volume's longest axis.

Tiles overlap and are blended with Gaussian weights. The weights factor into one profile an axis, and each profile is
divided beforehand by the sum over the tiles that share a voxel; so a blended value needs no division afterwards and no
sum of weights is stored. Rows along the longest axis are handed over as soon as no later tile reaches them: only one
patch's thickness of the classes is held, whatever the volume's size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from NNMambaLib.inference.blending import Slab
from NNMambaLib.volumes.volume import Shape

# Standard deviation of the Gaussian weights, as a part of the patch.
_SIGMA = 1 / 8
# Where the Gaussian's center lies, by the patch's voxels along an axis. That of nnU-Net lies on a voxel.
_CENTERS: dict[str, Callable[[int], float]] = {
    "symmetric": lambda width: (width - 1) / 2,
    "nnunet": lambda width: width // 2,
}


@dataclass(frozen=True)
class Tiling:
    """Where the tiles of a volume lie.

    Attributes:
        shape: of the volume, voxels along (z, y, x).
        patch: of a tile, along (z, y, x).
        starts: first voxel of the tiles along each axis; negative where the volume is smaller than the patch, whose
            rest is zero, half of it on either side.
        window: of the tiles' weights, as the manifest has it.
    """

    shape: Shape
    patch: Shape
    starts: tuple[tuple[int, ...], ...]
    window: str = "symmetric"

    @classmethod
    def plan(cls, shape: Shape, patch: Shape, step: float = 0.5, window: str = "symmetric") -> Tiling:
        """Return the tiling with neighbours at most `step` patches apart, evenly spread."""
        starts = tuple(_starts(size, width, step) for size, width in zip(shape, patch, strict=True))
        return cls(shape, patch, starts, window)

    @property
    def count(self) -> int:
        return math.prod(len(starts) for starts in self.starts)

    @property
    def stream_axis(self) -> int:
        """The axis (0: z, 1: y, 2: x) along which finished rows are handed over: the longest."""
        return int(np.argmax(self.shape))

    @property
    def slab_shape(self) -> Shape:
        """Voxels along (z, y, x) that are accumulated at a time: the patch's thickness along the stream axis."""
        axis = self.stream_axis
        z, y, x = (min(self.patch[axis], size) if index == axis else size for index, size in enumerate(self.shape))
        return z, y, x


@dataclass(frozen=True)
class Rows:
    """Finished rows first..last of an axis; their values are valid until the next rows are asked for.

    Attributes:
        stored: (z, y, x, output), the values, C-contiguous: along the axis, index 1 is row `first`, and index 0 the
            row before it (which is nothing where `first` is 0); what comes after row `last` is unfinished.
    """

    axis: int
    first: int
    last: int
    stored: np.ndarray

    @property
    def place(self) -> tuple[slice, ...]:
        """Where the rows lie in an array (output, z, y, x)."""
        return (slice(None), *self._along(self.first, self.last))

    @property
    def within(self) -> tuple[slice, ...]:
        """Where the rows lie in `stored`, (z, y, x)."""
        return self._along(1, 1 + self.last - self.first)

    @property
    def values(self) -> torch.Tensor:
        """The rows (output, z, y, x), a view; in memory the outputs come last."""
        return torch.from_numpy(self.stored[self.within]).movedim(-1, 0)

    def _along(self, first: int, last: int) -> tuple[slice, ...]:
        return tuple(
            slice(first, last) if axis == self.axis else slice(0, size)
            for axis, size in enumerate(self.stored.shape[:3])
        )


def sliding_window(
    predict: Callable[[np.ndarray], torch.Tensor],
    array: np.ndarray,
    tiling: Tiling,
    outputs: int,
    after_tile: Callable[[], None] = lambda: None,
) -> Iterator[Rows]:
    """Yield the blended outputs of all tiles, rows by rows.

    A tile that holds a single value (padding included), as air often does, is not predicted again if the last such tile
    held the same value: its outputs would be the same.

    Args:
        predict: returns the outputs (output, z, y, x), float32, on the CPU, of a tile (channel, z, y, x); always the
            same for the same tile. The tile is valid during the call only; the outputs belong to the caller.
        array: the volume, (channel, z, y, x).
        after_tile: called after each tile.

    Raises:
        ModelError: if outputs are not finite.
    """
    axis = tiling.stream_axis
    slab = Slab(tiling.slab_shape, axis, outputs)
    predict = _without_repeats(predict)
    profiles = [
        _profiles(size, width, starts, _CENTERS[tiling.window](width))
        for size, width, starts in zip(tiling.shape, tiling.patch, tiling.starts, strict=True)
    ]
    # The part of a tile outside the volume is the same for every tile, and stays zero.
    tile = np.zeros((len(array), *tiling.patch), np.float32)
    others = [index for index in range(3) if index != axis]
    stops = [max(0, start) for start in tiling.starts[axis][1:]] + [tiling.shape[axis]]
    first = 0
    for number, last in enumerate(stops):
        for rest in product(*(range(len(tiling.starts[index])) for index in others)):
            numbers = dict(zip(others, rest, strict=True)) | {axis: number}
            inside, target = _overlap(tiling, [tiling.starts[index][numbers[index]] for index in range(3)])
            tile[(slice(None), *inside)] = array[(slice(None), *target)]
            place = tuple(
                slice(part.start - first, part.stop - first) if index == axis else part
                for index, part in enumerate(target)
            )
            slab.add(predict(tile), inside, place, [profiles[index][numbers[index]] for index in range(3)])
            after_tile()
        slab.check(last - first)
        yield Rows(axis, first, last, slab.values)
        slab.move(last - first)
        first = last


def _without_repeats(predict: Callable[[np.ndarray], torch.Tensor]) -> Callable[[np.ndarray], torch.Tensor]:
    """Return `predict` with a memory of the last tile whose channels were constant."""
    known: tuple[list[float], torch.Tensor] | None = None

    def predict_or_repeat(tile: np.ndarray) -> torch.Tensor:
        nonlocal known
        levels = tile[:, :1, :1, :1]
        # One line first: it settles most tiles.
        if not ((tile[:, 0, 0] == levels[:, 0, 0]).all() and (tile == levels).all()):
            return predict(tile)
        levels = levels.ravel().tolist()
        if known is None or known[0] != levels:
            known = None
            known = levels, predict(tile)
        return known[1]

    return predict_or_repeat


def _starts(size: int, width: int, step: float) -> tuple[int, ...]:
    if size <= width:
        return (-((width - size) // 2),)
    count = math.ceil((size - width) / (width * step)) + 1
    # Multiplied last, as in nnU-Net: whether a half is rounded up or down depends on it. Where a step is less than a
    # voxel, several tiles would start at the same one.
    return tuple(dict.fromkeys(round((size - width) / (count - 1) * index) for index in range(count)))


def _profiles(size: int, width: int, starts: tuple[int, ...], center: float) -> list[np.ndarray]:
    """Return a profile (width,) for each tile along one axis; at every voxel of the volume they sum to 1."""
    offsets = (np.arange(width) - center) / (width * _SIGMA)
    profile = np.exp(-(offsets**2) / 2)
    total = np.zeros(max(size, width))
    shift = -min(0, starts[0])
    for start in starts:
        total[start + shift : start + shift + width] += profile
    return [(profile / total[s + shift : s + shift + width]).astype(np.float32) for s in starts]


def _overlap(tiling: Tiling, corner: list[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the part of a tile that lies in the volume, in the tile's indices and in the volume's."""
    inside, target = [], []
    for start, width, size in zip(corner, tiling.patch, tiling.shape, strict=True):
        low, high = max(0, start), min(size, start + width)
        inside.append(slice(low - start, high - start))
        target.append(slice(low, high))
    return tuple(inside), tuple(target)
