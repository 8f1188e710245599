"""Phantoms: intensities as functions of the position in the patient, and grids to sample them on."""

import itertools

import numpy as np

from NNMambaLib.volumes.volume import Volume

# Six letters in three pairs; every orientation takes one of each pair, in any order.
ORIENTATIONS = [
    "".join(letters) for axes in itertools.permutations(("LR", "PA", "SI")) for letters in itertools.product(*axes)
]
_LPS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}

# Centre of what the phantoms show, away from the origin so that a lost offset is seen.
CENTER = np.array([20.0, -35.0, 12.0])
# LPS from CENTRE, mm: all different along every axis, none near its own mirror image.
LANDMARKS = CENTER + np.array([[-14.2, -19.1, 6.3], [21.7, 4.4, -9.6], [5.3, 11.9, 18.8]])


def bodies(positions):
    """Return the intensity, 0 to about 3.9, of one large body and three smaller ones within; no axis is a symmetry."""
    return (
        1.5 * _blob(positions, CENTER, (28, 22, 25))
        + 2.8 * _blob(positions, LANDMARKS[0], (12, 14, 11))
        + 1.4 * _blob(positions, LANDMARKS[1], (9, 14, 12))
        + 1.2 * _blob(positions, LANDMARKS[2], (15, 10, 9))
    )


def bright_points(positions):
    """Return three channels, each with one blob whose peak, of height 2, is a landmark."""
    sizes = ((11, 13, 10), (10, 14, 12), (14, 11, 10))
    return np.stack([2 * _blob(positions, point, size) for point, size in zip(LANDMARKS, sizes, strict=True)])


def grid_matrix(orientation, spacing, shape, rotation=None, shear=0.0):
    """Return the matrix of a grid centred at CENTRE.

    Args:
        orientation: the direction of rising x, y, z before the rotation, such as ``LPS``.
        spacing: mm along x, y, z.
        shape: voxels along z, y, x.
        shear: mm along y for each mm along z, as a tilted gantry has it.
    """
    directions = np.zeros((3, 3))
    for column, letter in enumerate(orientation):
        axis, sign = _LPS[letter]
        directions[axis, column] = sign
    directions[:, 2] += shear * directions[:, 1]
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if rotation is None else rotation) @ directions * spacing
    matrix[:3, 3] = CENTER - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return matrix


def oblique_rotation(degrees=30):
    """Return the rotation by the angle about the x axis and then about the y axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def voxel_positions(shape, matrix):
    """Return the LPS positions (z, y, x, 3) in mm of a grid's voxels."""
    k, j, i = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    return np.stack([i, j, k], -1) @ matrix[:3, :3].T + matrix[:3, 3]


def sample(function, shape, matrix, name="phantom"):
    """Return a function of the LPS position as a volume."""
    array = function(voxel_positions(shape, matrix)).astype(np.float32)
    return Volume(array.reshape(-1, *shape), matrix, name)


def _blob(positions, center, sizes):
    return np.exp(-0.5 * (((positions - center) / sizes) ** 2).sum(-1))
