"""Curves of a training: a table and a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from NNMambaLib.files import atomic_file
from NNMambaLib.training.loop.trainer import Progress


def write_curves(history: Sequence[Progress], path: Path) -> None:
    """Write a CSV file with a row for each point; figures that a point does not have are left empty."""
    names = list(dict.fromkeys(name for progress in history for name in progress.figures))
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "learning_rate", "loss", *names])
        for progress in history:
            figures = [progress.figures.get(name, "") for name in names]
            writer.writerow([progress.step, progress.learning_rate, progress.loss, *figures])


def plot_curves(history: Sequence[Progress], path: Path) -> None:
    """Write a PNG with loss, learning rate and, where there was a validation, its first figure over the steps."""
    from matplotlib.figure import Figure

    panels = [
        ("loss", [(p.step, p.loss) for p in history]),
        ("learning rate", [(p.step, p.learning_rate) for p in history]),
    ]
    named = next((name for progress in history for name in progress.figures), None)
    if named is not None:
        panels.append((f"validation: {named}", [(p.step, p.figures[named]) for p in history if named in p.figures]))
    figure = Figure(figsize=(4.2 * len(panels), 3.6), dpi=120, layout="constrained")
    for axes, (title, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None, color="#1b6ca8")
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
