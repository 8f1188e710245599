"""A volume: voxels and where they lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Shape = tuple[int, int, int]
"""Voxels along (z, y, x), as numpy has them; where a docstring says so, along (x, y, z)."""
Spacing = tuple[float, float, float]
"""mm between neighbouring voxels along (x, y, z)."""
Position = tuple[float, float, float]
"""A point in mm, LPS (x to the patient's left, y to the back, z to the head)."""

# Between the two conventions for positions, in either direction: homogeneous, 4x4.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Anatomical direction of +x, +y, +z in LPS, and of their opposites.
_POSITIVE, _NEGATIVE = "LPS", "RAI"


@dataclass(frozen=True)
class Grid:
    """A lattice of voxels in physical space.

    Attributes:
        shape: voxels along (z, y, x).
        matrix: 4x4 from voxel index (i, j, k, 1) = (x, y, z, 1) to LPS position in mm; may be oblique, flipped,
            anisotropic or sheared.
    """

    shape: Shape
    matrix: np.ndarray

    @property
    def spacing(self) -> Spacing:
        """Distance between neighbouring voxels along (x, y, z), in mm."""
        x, y, z = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in mm^3."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))

    @property
    def sheared(self) -> bool:
        """Whether the axes are not at right angles, as those of a tilted gantry; files of volumes cannot hold that."""
        directions = self.matrix[:3, :3] / self.spacing
        return not np.allclose(directions.T @ directions, np.eye(3), atol=1e-4)

    @property
    def orientation(self) -> str:
        """Three letters: the anatomical direction nearest to that of rising index along x, y, z, such as ``LPS``."""
        axes = _nearest_axes(self.matrix)
        return "".join(
            (_POSITIVE if self.matrix[axis, column] > 0 else _NEGATIVE)[axis] for column, axis in enumerate(axes)
        )

    def to_physical(self, indices: np.ndarray) -> np.ndarray:
        """Return LPS positions (n, 3) in mm of voxel indices (n, 3) in the order (x, y, z)."""
        return np.asarray(indices, float) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def to_index(self, positions: np.ndarray) -> np.ndarray:
        """Return continuous voxel indices (n, 3) in the order (x, y, z) of LPS positions (n, 3) in mm."""
        return (np.asarray(positions, float) - self.matrix[:3, 3]) @ np.linalg.inv(self.matrix[:3, :3]).T

    def matches(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Tell whether both have the same shape and no voxel lies further apart than `tolerance` voxels."""
        if self.shape != other.shape:
            return False
        corners = _corner_indices(self.shape, edge=0.0)
        apart = np.linalg.norm(self.to_physical(corners) - other.to_physical(corners), axis=1)
        return bool(apart.max() <= tolerance * min(self.spacing))

    def corners(self) -> np.ndarray:
        """Return the LPS positions (8, 3) in mm of the outer corners of the outermost voxels."""
        return self.to_physical(_corner_indices(self.shape, edge=0.5))


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their grid.

    Attributes:
        array: (channel, z, y, x), of any real type.
        matrix: see `Grid`.
        name: for messages and output, such as the file's name.
        notices: what had to be assumed when it was read, for the user.
    """

    array: np.ndarray
    matrix: np.ndarray
    name: str = "volume"
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or np.shape(self.matrix) != (4, 4):
            raise ValueError(
                f"A volume needs an array (channel, z, y, x) and a 4x4 matrix, not {self.array.shape} and "
                f"{np.shape(self.matrix)}."
            )

    @cached_property
    def grid(self) -> Grid:
        return Grid(self.array.shape[1:], np.asarray(self.matrix, float))

    @property
    def channels(self) -> int:
        return self.array.shape[0]

    def reoriented(self, orientation: str) -> Volume:
        """Return the same voxels with axes permuted and flipped to the nearest axes of an orientation such as ``RAS``.

        Exact: no voxel changes its value or its place in the patient. The array is a view where it can be.
        """
        axes, flips = reorientation(self.grid, orientation)
        array = self.array.transpose(0, *(3 - axis for axis in reversed(axes)))
        array = array[(slice(None), *(slice(None, None, -1) if flip else slice(None) for flip in reversed(flips)))]
        return Volume(array, reoriented_grid(self.grid, orientation).matrix, self.name, self.notices)


def straightened(grid: Grid) -> tuple[np.ndarray, float]:
    """Return the grid's matrix with axes at right angles where only rounding keeps them from it, and the distance in mm
    that a voxel moved by.

    The axes are the nearest ones at right angles (of the polar decomposition), about the grid's centre. A grid whose
    corner would move by more than a tenth of a voxel is sheared, and its matrix is returned as it is.
    """
    if not (np.isfinite(grid.matrix).all() and grid.voxel_volume > 0 and grid.sheared):
        return grid.matrix, 0.0
    left, _, right = np.linalg.svd(grid.matrix[:3, :3] / grid.spacing)
    center = (np.array(grid.shape[::-1]) - 1) / 2
    matrix = grid.matrix.copy()
    matrix[:3, :3] = left @ right * grid.spacing
    matrix[:3, 3] += (grid.matrix[:3, :3] - matrix[:3, :3]) @ center
    straight = Grid(grid.shape, matrix)
    moved = float(np.linalg.norm(straight.corners() - grid.corners(), axis=1).max())
    return (matrix, moved) if moved <= 0.1 * min(grid.spacing) else (grid.matrix, 0.0)


def reorientation(grid: Grid, orientation: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Return, for each of the axes x, y, z of the wanted orientation, the grid's own axis and whether it is flipped.

    Raises:
        ValueError: if `orientation` is not three letters, one of each pair RL, AP, IS.
    """
    wanted = orientation_axes(orientation)
    own = orientation_axes(grid.orientation)
    order = tuple([axis for axis, _ in own].index(axis) for axis, _ in wanted)
    flips = tuple(own[source][1] != sign for source, (_, sign) in zip(order, wanted, strict=True))
    return order, flips


def reoriented_grid(grid: Grid, orientation: str) -> Grid:
    """Return the grid with its axes permuted and flipped to the nearest axes of an orientation such as ``RAS``."""
    order, flips = reorientation(grid, orientation)
    sizes = grid.shape[::-1]
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for target, (source, flip) in enumerate(zip(order, flips, strict=True)):
        change[source, target] = -1 if flip else 1
        change[source, 3] = sizes[source] - 1 if flip else 0
    x, y, z = (sizes[source] for source in order)
    return Grid((z, y, x), grid.matrix @ change)


def orientation_axes(orientation: str) -> list[tuple[int, int]]:
    """Return for each letter of an orientation its LPS axis (0, 1, 2) and its sign along that axis.

    Raises:
        ValueError: if it is not three letters, one of each pair RL, AP, IS.
    """
    axes = [
        (_POSITIVE.index(letter), 1) if letter in _POSITIVE else (_NEGATIVE.find(letter), -1) for letter in orientation
    ]
    if sorted(axis for axis, _ in axes) != [0, 1, 2]:
        raise ValueError(f"'{orientation}' is not an orientation: give three letters, one of each pair R/L, A/P, I/S.")
    return axes


def _nearest_axes(matrix: np.ndarray) -> tuple[int, int, int]:
    """Return the LPS axis nearest to each column, each axis once, the total alignment being the largest."""
    alignment = np.abs(matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0))
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    return max(orders, key=lambda order: sum(alignment[axis, column] for column, axis in enumerate(order)))


def _corner_indices(shape: tuple[int, int, int], edge: float) -> np.ndarray:
    ends = [(-edge, size - 1 + edge) for size in reversed(shape)]
    return np.array(np.meshgrid(*ends, indexing="ij"), float).reshape(3, -1).T
