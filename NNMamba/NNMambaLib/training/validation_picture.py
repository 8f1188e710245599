"""Pictures of a validation case: three slices, the reference above and the prediction below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from NNMambaLib.files import atomic_file
from NNMambaLib.models.label_colors import label_color
from NNMambaLib.training.data.prepared import PreparedCase
from NNMambaLib.volumes.volume import Position

_NAMES = ("axial", "coronal", "sagittal")
_PERCENTILES = (1.0, 99.0)
_ROWS = ("reference", "prediction")


def draw_labels(
    case: PreparedCase, reference: np.ndarray, prediction: np.ndarray, names: Sequence[str], path: Path
) -> None:
    """Write a PNG of two label volumes (z, y, x) over the first channel, through the reference's centre."""
    labeled = np.argwhere(reference > 0)
    center = np.median(labeled, axis=0).astype(int) if len(labeled) else np.array(case.grid.shape) // 2
    figure, axes = _slices(case, center, _ROWS)
    count = len(names) + 1
    colors = np.array([(0, 0, 0, 0), *((*label_color(v, count), 140) for v in range(1, count))], np.uint8)
    for row, labels in zip(axes, (reference, prediction), strict=True):
        for axis, panel in enumerate(row):
            panel.imshow(colors[np.take(labels, center[axis], axis=axis)], **_frame(case, axis))
    _save(figure, axes, path)


def draw_landmarks(
    case: PreparedCase,
    reference: Sequence[Position | None],
    prediction: Sequence[Position | None],
    names: Sequence[str],
    path: Path,
) -> None:
    """Write a PNG of the first landmark that both have, all landmarks projected onto the slices through it."""
    known = [r for r, p in zip(reference, prediction, strict=True) if r is not None and p is not None]
    known = known or [r for r in reference if r is not None]
    center = np.array(case.grid.shape) // 2
    if known:
        center = np.clip(np.round(case.grid.to_index(known[:1])[0][::-1]).astype(int), 0, np.array(case.grid.shape) - 1)
    figure, axes = _slices(case, center, _ROWS)
    for row, positions, marker in zip(axes, (reference, prediction), ("+", "x"), strict=True):
        for number, position in enumerate(positions):
            if position is None:
                continue
            index = case.grid.to_index([position])[0][::-1]
            for axis, panel in enumerate(row):
                x, y = np.delete(index, axis)[::-1]
                panel.plot(x, y, marker, color=f"C{number % 10}", label=names[number])
    axes[0][0].legend(fontsize=6)
    _save(figure, axes, path)


def draw_classes(case: PreparedCase, lines: Sequence[str], path: Path) -> None:
    """Write a PNG of the slices through the volume's centre, under lines of text."""
    figure, axes = _slices(case, np.array(case.grid.shape) // 2, ("volume",))
    figure.suptitle("\n".join([case.name, *lines]), fontsize=9)
    _save(figure, axes, path)


def _slices(case: PreparedCase, center: np.ndarray, rows: Sequence[str]):
    """Return a figure and its panels (row, axis) with the first channel's slices through a voxel (z, y, x)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4 * len(rows)), dpi=120, layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False)
    low, high = np.percentile(case.array[0], _PERCENTILES)
    for row, title in zip(axes, rows, strict=True):
        for axis, panel in enumerate(row):
            pixels = np.take(case.array[0], center[axis], axis=axis)
            panel.imshow(pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), **_frame(case, axis))
            panel.set(title=f"{title}, {_NAMES[axis]}", xticks=[], yticks=[])
    figure.suptitle(case.name, fontsize=9)
    return figure, axes


def _frame(case: PreparedCase, axis: int) -> dict:
    """Return how `imshow` has to lay out a slice across an axis of (z, y, x), its rows rising upwards."""
    down, across = np.delete(case.grid.spacing[::-1], axis)
    return {"origin": "lower", "aspect": down / across, "interpolation": "nearest"}


def _save(figure, axes, path: Path) -> None:
    # The array's x rises to the patient's right, which is shown on the left. Drawing resets it, so it comes last.
    for panel in axes[:, :2].ravel():
        panel.xaxis.set_inverted(True)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
