"""Accumulating overlapping tiles in a window that moves along the volume, one patch thick."""

from __future__ import annotations

import numpy as np
import torch

from NNMambaLib.inference.finite import check_finite

# Of a part along (z, y, x).
Place = tuple[slice, ...]


class Slab:
    """Weighted outputs of tiles, accumulated in a window that moves along one axis of the volume.

    Attributes:
        values: (z, y, x, output), float32; along the axis, index 0 is the row before the window's first.

    Args:
        shape: of the window, voxels along (z, y, x).
        axis: along which it moves (0: z, 1: y, 2: x).
        outputs: of each voxel.
    """

    def __init__(self, shape: tuple[int, int, int], axis: int, outputs: int):
        self._axis = axis
        sizes = list(shape)
        sizes[axis] += 1
        self.values = np.zeros((*sizes, outputs), np.float32)

    def add(self, outputs: torch.Tensor, inside: Place, place: Place, profiles: list[np.ndarray]) -> None:
        """Add a part of a tile.

        Args:
            outputs: of the tile, (output, z, y, x), float32, on the CPU; fastest with the outputs last in memory.
            inside: the part, in the tile.
            place: the part, in the window.
            profiles: weights of the tile along each axis, whose products are its voxels' weights.
        """
        z, y, x = (profile[part] for profile, part in zip(profiles, inside, strict=True))
        weights = torch.from_numpy(z[:, None, None] * y[:, None] * x)
        window = self.values[self._rows(1, None)][place]
        torch.from_numpy(window).movedim(-1, 0).addcmul_(outputs[(slice(None), *inside)], weights)

    def check(self, rows: int) -> None:
        """Refuse values that are not finite among the window's first rows.

        Raises:
            ModelError: see `check_finite`.
        """
        check_finite(torch.from_numpy(self.values[self._rows(1, 1 + rows)]))

    def move(self, rows: int) -> None:
        """Move the window forward by `rows`; the rows that enter are zero."""
        move_rows(self.values, self._axis, rows)
        self.values[self._rows(self.values.shape[self._axis] - rows, None)] = 0

    def _rows(self, first: int, last: int | None) -> tuple[slice, ...]:
        return (*[slice(None)] * self._axis, slice(first, last))


def move_rows(array: np.ndarray, axis: int, rows: int) -> None:
    """Shift an array towards the first index of an axis by `rows`, in place; the last rows keep their values."""
    array = np.moveaxis(array, axis, 0)
    # In steps whose source and target do not overlap: numpy would otherwise copy the whole array first.
    for first in range(0, len(array) - rows, rows):
        last = min(first + rows, len(array) - rows)
        array[first:last] = array[first + rows : last + rows]
