"""One small picture of a volume with its result, for pages that show many of them.

Needs neither a display nor Slicer's libraries.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from NNMambaLib.errors import OutputError
from NNMambaLib.export.slices import ANATOMICAL_PLANES, Plane, gray, paint_labels, plane
from NNMambaLib.results import LandmarksResult, SegmentationResult
from NNMambaLib.runtime.leftovers import PLAIN, temporary_prefix
from NNMambaLib.volumes.volume import Position, Volume

SIZE = 112
"""Pixels along the longer side."""

_LABEL_OPACITY, _MARK_COLOR, _MARK_RADIUS, _QUALITY = 0.6, (1.0, 0.8, 0.0), 1.5, 80


def volume_thumbnail(volume: Volume, center: Position | np.ndarray | None = None) -> np.ndarray:
    """Return the axial slice through an LPS position in mm, or the volume's centre, (row, column, RGB) of uint8."""
    return _as_bytes(gray(volume, _axial(volume, center)))


def segmentation_thumbnail(result: SegmentationResult, volume: Volume) -> np.ndarray:
    """Return the axial slice with the most labelled voxels, labels painted, (row, column, RGB) of uint8."""
    labels = result.labels
    where = _axial(volume, _label_slice_center(labels) if labels.array.any() else None)
    colors = [label.color for label in result.label_definitions]
    return _as_bytes(paint_labels(gray(volume, where), where, labels, colors, _LABEL_OPACITY))


def landmarks_thumbnail(result: LandmarksResult, volume: Volume) -> np.ndarray:
    """Return the axial slice through the landmarks' median, all of them projected onto it, (row, column, RGB)."""
    found = [landmark.position for landmark in result.landmarks if landmark.position is not None]
    where = _axial(volume, np.median(found, axis=0) if found else None)
    pixels = gray(volume, where)
    rows, columns = np.indices(where.shape)
    for position in found:
        column, row = where.pixel(position)
        pixels[np.hypot(rows - row, columns - column) <= _MARK_RADIUS] = _MARK_COLOR
    return _as_bytes(pixels)


def jpeg(pixels: np.ndarray) -> bytes:
    """Return (row, column, RGB) of uint8 as a JPEG file's content.

    Raises:
        OutputError: if the folder for temporary files has no room.
    """
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory(prefix=temporary_prefix(PLAIN)) as folder:
        path = Path(folder) / "picture.jpg"
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(path), True, _QUALITY)
        content = path.read_bytes()
    # ITK reports no failed write; a JPEG file ends in these bytes.
    if not content.endswith(b"\xff\xd9"):
        raise OutputError(f"The picture {path} cannot be written: make room in the folder for temporary files.")
    return content


def _axial(volume: Volume, center: Position | np.ndarray | None) -> Plane:
    return plane(volume.grid, "Axial", ANATOMICAL_PLANES["Axial"], center, size=SIZE)


def _label_slice_center(labels: Volume) -> np.ndarray:
    """Return the LPS position in mm of the middle of the labels in the slice, along the most axial axis, with most."""
    array = labels.array[0] > 0
    directions = labels.grid.matrix[:3, :3] / np.linalg.norm(labels.grid.matrix[:3, :3], axis=0)
    # Columns of the matrix are x, y, z and axes of the array z, y, x.
    axis = 2 - int(np.argmax(np.abs(directions[2])))
    counts = array.sum(axis=tuple(other for other in range(3) if other != axis))
    number = int(np.argmax(counts))
    within = np.argwhere(np.take(array, number, axis)).mean(0)
    return labels.grid.to_physical(np.insert(within, axis, number)[None, ::-1])[0]


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    return (255 * pixels).round().astype(np.uint8)
