"""Three slices of a volume with an explanation over them, and the colours that explanations are shown in.

Needs neither a display nor Slicer's libraries.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from NNMambaLib.errors import OutputError
from NNMambaLib.results import Explanation
from NNMambaLib.volumes.volume import Volume

# RGB in 0..1 where a region speaks against the class and for it; the colour-blind can tell them apart, too.
AGAINST_COLOR, FOR_COLOR = (0.25, 0.55, 1.0), (1.0, 0.55, 0.0)
# Of the explanation at full colour, over the volume.
OPACITY = 0.7
# A smaller change of the probability is not stretched to full colour: noise would be taken for an answer.
_LEAST_LIMIT = 0.001
# Letters at the left, right, top and bottom of each slice, as radiologists have them.
_SLICES = {"Axial": "RLAP", "Sagittal": "APSI", "Coronal": "RLSI"}
_DIRECTIONS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
_WINDOW_PERCENTILES = (0.5, 99.5)
_WINDOW_SAMPLES = 1_000_000


@dataclass(frozen=True, eq=False)
class SlicePicture:
    """A slice: its name, the anatomical letters of its left, right, top and bottom edge, and (row, column, RGB)."""

    name: str
    letters: str
    pixels: np.ndarray


def color_limit(explanation: Explanation) -> float:
    """Return the change of the probability that has full colour, on either side of 0."""
    array = explanation.volume.array
    return max(_LEAST_LIMIT, float(array.max()), -float(array.min()))


def slice_pictures(volume: Volume, explanation: Explanation | None = None, size: int = 320) -> list[SlicePicture]:
    """Return an axial, a sagittal and a coronal slice of a volume's first channel, of uint8.

    They meet where the explanation is strongest, or else in the volume's centre.

    Args:
        size: pixels along the longer side.
    """
    corners = volume.grid.corners()
    found = None if explanation is None else strongest(explanation)
    center = corners.mean(0) if found is None else found[1]
    lower, upper = corners.min(0), corners.max(0)
    low, high = _window(volume.array[0])
    pictures = []
    for name, letters in _SLICES.items():
        right, down = (np.array(_DIRECTIONS[letters[edge]]) for edge in (1, 3))
        middle = center + (np.abs(right) + np.abs(down)) * ((lower + upper) / 2 - center)
        extent = np.abs([right, down]) @ (upper - lower)
        step = extent.max() / size
        columns, rows = (np.arange(max(1, round(length / step))) for length in extent)
        across, along = ((axis - (len(axis) - 1) / 2) * step for axis in (columns, rows))
        positions = middle + along[:, None, None] * down + across[None, :, None] * right
        gray = np.clip((_sampled(volume, positions, low) - low) / (high - low), 0, 1)
        pixels = np.repeat(gray[..., None], 3, axis=-1)
        if explanation is not None:
            part = np.clip(_sampled(explanation.volume, positions, 0.0) / color_limit(explanation), -1, 1)[..., None]
            color = np.where(part > 0, FOR_COLOR, AGAINST_COLOR)
            pixels += OPACITY * np.abs(part) * (color - pixels)
        pictures.append(SlicePicture(name, letters, (255 * pixels).round().astype(np.uint8)))
    return pictures


def png(pixels: np.ndarray) -> bytes:
    """Return (row, column, RGB) of uint8 as a PNG file's content."""
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory(prefix="nnmamba-") as folder:
        path = Path(folder) / "picture.png"
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(path))
        # ITK reports no failed write.
        if not np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), pixels):
            raise OutputError(f"The picture {path} cannot be written: make room in the folder for temporary files.")
        return path.read_bytes()


def strongest(explanation: Explanation) -> tuple[float, np.ndarray] | None:
    """Return the value furthest from 0 and its LPS position in mm; None where nothing matters."""
    array = explanation.volume.array[0]
    # Without a copy of what may be a large volume.
    place = array.argmax() if array.max() >= -array.min() else array.argmin()
    index = np.unravel_index(int(place), array.shape)
    if array[index] == 0:
        return None
    return float(array[index]), explanation.volume.grid.to_physical([index[::-1]])[0]


def _window(values: np.ndarray) -> tuple[float, float]:
    sample = values.ravel()[:: max(1, values.size // _WINDOW_SAMPLES)]
    low, high = np.percentile(sample.astype(float), _WINDOW_PERCENTILES).tolist()
    return low, high if high > low else low + 1


def _sampled(volume: Volume, positions: np.ndarray, outside: float) -> np.ndarray:
    """Return a volume's first channel at LPS positions (row, column, 3) in mm, interpolated between voxels."""
    shape = positions.shape[:-1]
    last = np.array(volume.grid.shape) - 1
    index = volume.grid.to_index(positions.reshape(-1, 3))[:, ::-1]
    inside = np.all((index >= -0.5) & (index <= last + 0.5), axis=1)
    index = np.clip(index, 0, last)
    first = np.minimum(index.astype(int), np.maximum(last - 1, 0))
    part, values = index - first, np.zeros(len(index))
    for corner in product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        values += weight * volume.array[0][tuple(np.minimum(first + corner, last).T)]
    return np.where(inside, values, outside).reshape(shape)
