"""Pictures of a validation case: anatomical slices, the reference above and the prediction below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.export.slices import Plane, gray, paint_labels, planes, show, window
from NNMambaLib.files import atomic_file
from NNMambaLib.models.label_colors import label_color
from NNMambaLib.training.data.prepared import PreparedCase
from NNMambaLib.volumes.volume import Position, Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABEL_OPACITY = 0.55
_ROWS = ("Reference", "Prediction")


def draw_labels(
    case: PreparedCase, reference: np.ndarray, prediction: np.ndarray, names: Sequence[str], path: Path
) -> None:
    """Write a PNG of two label volumes (z, y, x) over the first channel, through the reference's centre."""
    labeled = np.argwhere(reference > 0)
    center = case.grid.to_physical(np.median(labeled, axis=0)[None, ::-1])[0] if len(labeled) else None
    count = len(names) + 1
    colors = [label_color(value, count) for value in range(1, count)]
    rows = [Volume(labels[None], case.grid.matrix) for labels in (reference, prediction)]
    figure, axes, cuts, slices = _figure(case, center, len(rows))
    for row, title, labels in zip(axes, _ROWS, rows, strict=True):
        for panel, cut, pixels in zip(row, cuts, slices, strict=True):
            _show(panel, cut, paint_labels(pixels, cut, labels, colors, _LABEL_OPACITY), title)
    _save(figure, path)


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
    figure, axes, cuts, slices = _figure(case, known[0] if known else None, len(_ROWS))
    for row, title, positions, marker in zip(axes, _ROWS, (reference, prediction), "+x", strict=True):
        for panel, cut, pixels in zip(row, cuts, slices, strict=True):
            _show(panel, cut, pixels, title)
            for number, position in enumerate(positions):
                if position is not None:
                    panel.plot(*cut.pixel(position), marker, color=f"C{number % 10}", label=names[number])
    axes[0][0].legend(fontsize=6)
    _save(figure, path)


def draw_classes(case: PreparedCase, lines: Sequence[str], path: Path) -> None:
    """Write a PNG of the slices through the volume's centre, under lines of text."""
    figure, axes, cuts, slices = _figure(case, None, 1)
    for panel, cut, pixels in zip(axes[0], cuts, slices, strict=True):
        _show(panel, cut, pixels, "Volume")
    figure.suptitle("\n".join([case.name, *lines]), fontsize=9)
    _save(figure, path)


def _figure(
    case: PreparedCase, center: Position | np.ndarray | None, rows: int
) -> tuple[Figure, np.ndarray, list[Plane], list[np.ndarray]]:
    """Return a figure, its panels (row, plane), the planes through a position, and the first channel on each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4 * rows), dpi=120, layout="constrained")
    figure.suptitle(case.name, fontsize=9)
    axes = figure.subplots(rows, 3, squeeze=False)
    volume, cuts = Volume(case.array[:1], case.grid.matrix), planes(case.grid, center)
    limits = window(volume.array)
    return figure, axes, cuts, [gray(volume, cut, limits) for cut in cuts]


def _show(panel, cut: Plane, pixels: np.ndarray, title: str) -> None:
    show(panel, pixels, f"{title}, {cut.name.lower()}", cut.letters)


def _save(figure: Figure, path: Path) -> None:
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
