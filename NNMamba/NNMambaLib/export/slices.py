"""Slices of volumes, as every flat picture shows them: the plane, the volume's window, labels over it.

Needs neither a display nor Slicer's libraries; `show` draws on matplotlib's axes, which it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.volumes.volume import Grid, Position, Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Letters at the left, right, top and bottom of each plane, as radiologists have them.
ANATOMICAL_PLANES = {"Axial": "RLAP", "Sagittal": "APSI", "Coronal": "RLSI"}
_DIRECTIONS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
_WINDOW_PERCENTILES = (0.5, 99.5)
_WINDOW_SAMPLES = 1_000_000
# Where `show` puts a plane's letters, as parts of the axes' width and height, and how it aligns them.
_EDGES = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"),
          (0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom"))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane along two of the patient's axes, divided into square pixels.

    Attributes:
        name: such as ``Axial``.
        letters: the anatomical directions of its left, right, top and bottom edge.
        middle: LPS position of its middle, mm.
        step: distance between neighbouring pixels, mm.
        shape: pixels (rows, columns).
    """

    name: str
    letters: str
    middle: np.ndarray
    step: float
    shape: tuple[int, int]

    def positions(self) -> np.ndarray:
        """Return the LPS positions in mm of the pixels, (row, column, 3)."""
        along, across = ((np.arange(count) - (count - 1) / 2) * self.step for count in self.shape)
        right, down = _right_and_down(self.letters)
        return self.middle + along[:, None, None] * down + across[None, :, None] * right

    def pixel(self, position: Position | np.ndarray) -> tuple[float, float]:
        """Return (column, row), between pixels, of an LPS position in mm, projected onto the plane."""
        offset = (np.asarray(position, float) - self.middle) / self.step
        right, down = _right_and_down(self.letters)
        return float(offset @ right) + (self.shape[1] - 1) / 2, float(offset @ down) + (self.shape[0] - 1) / 2


@dataclass(frozen=True, eq=False)
class View:
    """A drawn view: its name, its edges' letters (left, right, top, bottom; empty without) and (row, column, RGB)."""

    name: str
    letters: str
    pixels: np.ndarray


def plane(
    grid: Grid,
    name: str,
    letters: str,
    center: Position | np.ndarray | None = None,
    width: float | None = None,
    size: int = 320,
) -> Plane:
    """Return the plane of these edges that goes through a point.

    Args:
        center: LPS position in mm; None is the grid's centre.
        width: mm of a square about the point; None is all of the grid.
        size: pixels along the longer side.
    """
    corners = grid.corners()
    middle = corners.mean(0) if center is None else np.asarray(center, float)
    right, down = _right_and_down(letters)
    if width is None:
        lower, upper = corners.min(0), corners.max(0)
        middle = middle + (np.abs(right) + np.abs(down)) * ((lower + upper) / 2 - middle)
        extent = np.abs([right, down]) @ (upper - lower)
    else:
        extent = np.array([width, width])
    step = float(extent.max() / size)
    columns, rows = (max(1, round(float(length) / step)) for length in extent)
    return Plane(name, letters, middle, step, (rows, columns))


def planes(grid: Grid, center: Position | np.ndarray | None = None, size: int = 320) -> list[Plane]:
    """Return the axial, sagittal and coronal plane through an LPS position in mm, by default the grid's centre."""
    return [plane(grid, name, letters, center, size=size) for name, letters in ANATOMICAL_PLANES.items()]


def window(values: np.ndarray) -> tuple[float, float]:
    """Return what is shown black and white: the 0.5th and 99.5th percentile, the second always the larger."""
    sample = values.ravel()[:: max(1, values.size // _WINDOW_SAMPLES)]
    low, high = np.percentile(sample.astype(float), _WINDOW_PERCENTILES).tolist()
    return low, high if high > low else low + 1


def gray(volume: Volume, where: Plane, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Return a volume's first channel on a plane as (row, column, RGB) in 0..1.

    Args:
        limits: the values that are black and white; None is the volume's `window`.
    """
    low, high = window(volume.array[0]) if limits is None else limits
    values = np.clip((values_at(volume, where.positions(), low) - low) / (high - low), 0, 1)
    return np.repeat(values[..., None], 3, axis=-1)


def paint(pixels: np.ndarray, colors: np.ndarray | Sequence[float], opacity: np.ndarray | float) -> np.ndarray:
    """Return (row, column, RGB) in 0..1 with colours in 0..1 over it, opacity (row, column, 1) in 0..1."""
    return pixels + opacity * (np.asarray(colors, float) - pixels)


def paint_labels(
    pixels: np.ndarray, where: Plane, labels: Volume, colors: Sequence[Sequence[int]], opacity: float = 1.0
) -> np.ndarray:
    """Return (row, column, RGB) in 0..1 with a label volume over it, its background clear.

    Args:
        colors: RGB in 0..255 of the labels 1, 2, ...
    """
    found = values_at(labels, where.positions(), nearest=True).astype(int)
    table = np.array([(0, 0, 0), *colors], float) / 255
    return paint(pixels, table[found], opacity * (found > 0)[..., None])


def values_at(volume: Volume, positions: np.ndarray, outside: float = 0.0, nearest: bool = False) -> np.ndarray:
    """Return a volume's first channel at LPS positions (row, column, 3) in mm, as float64 (row, column).

    Args:
        outside: the value beyond the volume's outermost voxels.
        nearest: take the nearest voxel's value instead of interpolating between voxels.
    """
    shape = positions.shape[:-1]
    last = np.array(volume.grid.shape) - 1
    index = volume.grid.to_index(positions.reshape(-1, 3))[:, ::-1]
    inside = np.all((index >= -0.5) & (index <= last + 0.5), axis=1)
    index = np.clip(index, 0, last)
    if nearest:
        values = volume.array[0][tuple(np.rint(index).astype(int).T)].astype(float)
        return np.where(inside, values, outside).reshape(shape)
    first = np.minimum(index.astype(int), np.maximum(last - 1, 0))
    part, values = index - first, np.zeros(len(index))
    for corner in product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        values += weight * volume.array[0][tuple(np.minimum(first + corner, last).T)]
    return np.where(inside, values, outside).reshape(shape)


def show(axes: Axes, pixels: np.ndarray, title: str, letters: str = "") -> None:
    """Draw (row, column, RGB) in 0..1 with a title, and with the letters of its edges, on matplotlib's axes."""
    axes.imshow(pixels, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)
    for letter, (x, y, across, along) in zip(letters, _EDGES, strict=False):
        shade = {"facecolor": "black", "alpha": 0.4, "linewidth": 0, "pad": 1}
        axes.text(x, y, letter, transform=axes.transAxes, color="white", fontsize=7, ha=across, va=along, bbox=shade)


def _right_and_down(letters: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the LPS directions to the right and down of a plane with these edges."""
    return np.array(_DIRECTIONS[letters[1]]), np.array(_DIRECTIONS[letters[3]])
