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

from NNMambaLib.errors import VolumeError

# Standard deviation of the Gaussian weights, as a part of the patch.
_SIGMA = 1 / 8


@dataclass(frozen=True)
class Tiling:
    """Where the tiles of a volume lie.

    Attributes:
        shape: of the volume, voxels along (z, y, x).
        patch: of a tile, along (z, y, x).
        starts: first voxel of the tiles along each axis; negative where the volume is smaller than the patch, whose
            rest is zero, half of it on either side.
    """

    shape: tuple[int, int, int]
    patch: tuple[int, int, int]
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def plan(cls, shape: tuple[int, int, int], patch: tuple[int, int, int], step: float = 0.5) -> Tiling:
        """Return the tiling with neighbours at most `step` patches apart, evenly spread."""
        starts = tuple(_starts(size, width, step) for size, width in zip(shape, patch, strict=True))
        return cls(tuple(shape), tuple(patch), starts)

    @property
    def count(self) -> int:
        return math.prod(len(starts) for starts in self.starts)

    @property
    def stream_axis(self) -> int:
        """The axis (0: z, 1: y, 2: x) along which finished rows are handed over: the longest."""
        return int(np.argmax(self.shape))

    @property
    def slab_shape(self) -> tuple[int, int, int]:
        """Voxels that are accumulated at a time, along (stream axis, the other two in order)."""
        axis = self.stream_axis
        others = [size for index, size in enumerate(self.shape) if index != axis]
        return (min(self.patch[axis], self.shape[axis]), *others)


@dataclass(frozen=True)
class Rows:
    """Finished rows first..last of an axis: `values` (output, z, y, x), valid until the next rows are asked for."""

    axis: int
    first: int
    last: int
    values: torch.Tensor

    @property
    def place(self) -> tuple[slice, ...]:
        """Where the rows lie in an array (output, z, y, x)."""
        place = [slice(None)] * 4
        place[1 + self.axis] = slice(self.first, self.last)
        return tuple(place)


def sliding_window(
    predict: Callable[[np.ndarray], torch.Tensor],
    array: np.ndarray,
    tiling: Tiling,
    outputs: int,
    after_tile: Callable[[], None] = lambda: None,
) -> Iterator[Rows]:
    """Yield the blended outputs of all tiles, rows by rows.

    Args:
        predict: from a tile (channel, z, y, x) to its outputs (output, z, y, x), float32, on the CPU.
        array: the volume, (channel, z, y, x).
        after_tile: called after each tile.
    """
    axis = tiling.stream_axis
    slab = torch.zeros((outputs, *tiling.slab_shape))
    weights = [
        _weights(size, width, starts)
        for size, width, starts in zip(tiling.shape, tiling.patch, tiling.starts, strict=True)
    ]
    others = [index for index in range(3) if index != axis]
    stops = [max(0, start) for start in tiling.starts[axis][1:]] + [tiling.shape[axis]]
    first = 0
    for number, last in enumerate(stops):
        for rest in product(*(range(len(tiling.starts[index])) for index in others)):
            tile_numbers = dict(zip(others, rest, strict=True)) | {axis: number}
            corner = [tiling.starts[index][tile_numbers[index]] for index in range(3)]
            inside, target = _overlap(tiling, corner)
            outputs_here = predict(_cut(array, tiling.patch, inside, target))[(slice(None), *inside)]
            z, y, x = (weights[index][tile_numbers[index]][inside[index]] for index in range(3))
            weight = z[:, None, None] * y[:, None] * x
            place = [target[index] for index in (axis, *others)]
            place[0] = slice(place[0].start - first, place[0].stop - first)
            slab[(slice(None), *place)].addcmul_(outputs_here.movedim(1 + axis, 1), weight.movedim(axis, 0))
            after_tile()
        finished = last - first
        # The sum is a number only if every value is: one pass, and no array of flags.
        if not math.isfinite(float(slab[:, :finished].sum())):
            raise VolumeError(
                "The network gave values that are no numbers: check the volume's intensities, or install the model "
                "again."
            )
        yield Rows(axis, first, last, slab[:, :finished].movedim(1, 1 + axis))
        for row in range(slab.shape[1] - finished):
            slab[:, row] = slab[:, row + finished]
        slab[:, slab.shape[1] - finished :] = 0
        first = last


def _starts(size: int, width: int, step: float) -> tuple[int, ...]:
    if size <= width:
        return (-((width - size) // 2),)
    count = math.ceil((size - width) / (width * step)) + 1
    return tuple(round(index * (size - width) / (count - 1)) for index in range(count))


def _weights(size: int, width: int, starts: tuple[int, ...]) -> list[torch.Tensor]:
    """Return a profile (width,) for each tile along one axis; at every voxel of the volume they sum to 1."""
    offsets = (np.arange(width) - (width - 1) / 2) / (width * _SIGMA)
    profile = np.exp(-(offsets**2) / 2)
    total = np.zeros(max(size, width))
    shift = -min(0, starts[0])
    for start in starts:
        total[start + shift : start + shift + width] += profile
    return [torch.from_numpy((profile / total[s + shift : s + shift + width]).astype(np.float32)) for s in starts]


def _overlap(tiling: Tiling, corner: list[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the part of a tile that lies in the volume, in the tile's indices and in the volume's."""
    inside, target = [], []
    for start, width, size in zip(corner, tiling.patch, tiling.shape, strict=True):
        low, high = max(0, start), min(size, start + width)
        inside.append(slice(low - start, high - start))
        target.append(slice(low, high))
    return tuple(inside), tuple(target)


def _cut(array: np.ndarray, patch: tuple[int, int, int], inside, target) -> np.ndarray:
    values = array[(slice(None), *target)]
    if values.shape[1:] == patch:
        return np.ascontiguousarray(values)
    tile = np.zeros((array.shape[0], *patch), np.float32)
    tile[(slice(None), *inside)] = values
    return tile
