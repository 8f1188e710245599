"""Three slices of a volume with an explanation over them, and the colours that explanations are shown in.

Needs neither a display nor Slicer's libraries.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from NNMambaLib.errors import OutputError
from NNMambaLib.export.slices import View, gray, paint, planes, values_at, window
from NNMambaLib.results import Explanation
from NNMambaLib.runtime.leftovers import PLAIN, temporary_prefix
from NNMambaLib.volumes.volume import Volume

# RGB in 0..1 where a region speaks against the class and for it; the colour-blind can tell them apart, too.
AGAINST_COLOR, FOR_COLOR = (0.25, 0.55, 1.0), (1.0, 0.55, 0.0)
# Of the explanation at full colour, over the volume.
OPACITY = 0.7
# A smaller change of the probability is not stretched to full colour: noise would be taken for an answer.
_LEAST_LIMIT = 0.001


def color_limit(explanation: Explanation) -> float:
    """Return the change of the probability that has full colour, on either side of 0."""
    array = explanation.volume.array
    return max(_LEAST_LIMIT, float(array.max()), -float(array.min()))


def slice_pictures(volume: Volume, explanation: Explanation | None = None, size: int = 320) -> list[View]:
    """Return an axial, a sagittal and a coronal slice of a volume's first channel, of uint8.

    They meet where the explanation is strongest, or else in the volume's centre.

    Args:
        size: pixels along the longer side.
    """
    found = None if explanation is None else strongest(explanation)
    limits = window(volume.array[0])
    pictures = []
    for plane in planes(volume.grid, None if found is None else found[1], size):
        pixels = gray(volume, plane, limits)
        if explanation is not None:
            part = values_at(explanation.volume, plane.positions()) / color_limit(explanation)
            part = np.clip(part, -1, 1)[..., None]
            pixels = paint(pixels, np.where(part > 0, FOR_COLOR, AGAINST_COLOR), OPACITY * np.abs(part))
        pictures.append(View(plane.name, plane.letters, (255 * pixels).round().astype(np.uint8)))
    return pictures


def png(pixels: np.ndarray) -> bytes:
    """Return (row, column, RGB) of uint8 as a PNG file's content."""
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory(prefix=temporary_prefix(PLAIN)) as folder:
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
    return float(array[index]), explanation.volume.grid.to_physical(np.array([index[::-1]]))[0]
