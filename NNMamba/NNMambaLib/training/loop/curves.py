"""Curves of a training: a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from NNMambaLib.files import atomic_file, write_table
from NNMambaLib.training.loop.trainer import CurvePoint


def write_curves(history: Sequence[CurvePoint], path: Path) -> None:
    """Write a CSV file with a row for each point; metrics that a point does not have are left empty."""
    names = list(dict.fromkeys(name for point in history for name in point.metrics))
    rows: list[list] = [["step", "learning_rate", "loss", *names]]
    for point in history:
        metrics = [point.metrics.get(name, "") for name in names]
        rows.append([point.step, point.learning_rate, point.loss, *metrics])
    write_table(rows, path)


def plot_curves(history: Sequence[CurvePoint], path: Path) -> None:
    """Write a PNG with loss, learning rate and, where there was a validation, its first metric over the steps."""
    from matplotlib.figure import Figure

    panels = [
        ("loss", [(p.step, p.loss) for p in history]),
        ("learning rate", [(p.step, p.learning_rate) for p in history]),
    ]
    named = next((name for point in history for name in point.metrics), None)
    if named is not None:
        panels.append((f"validation: {named}", [(p.step, p.metrics[named]) for p in history if named in p.metrics]))
    width, height = 4.2, 3.6
    figure = Figure(figsize=(width * len(panels), height), dpi=120)
    # Margins in inches: a layout that looks for them draws everything twice.
    margins = {"left": 0.6 / width / len(panels), "right": 1 - 0.2 / width / len(panels)}
    margins |= {"bottom": 0.55 / height, "top": 1 - 0.35 / height}
    grid = figure.subplots(1, len(panels), squeeze=False, gridspec_kw=margins | {"wspace": 0.8 / (width - 0.8)})
    for axes, (title, points) in zip(grid[0], panels, strict=True):
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None, color="#1b6ca8")
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
