"""The reliability diagram of a classification report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from NNMambaLib.files import atomic_file


def plot_reliability(targets: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """Write a PNG with one panel a target: accuracy against confidence, each point with its number of cases.

    Args:
        targets: the entry ``targets`` of a classification report.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(targets), 4.2), dpi=120, layout="constrained")
    for axes, (name, target) in zip(figure.subplots(1, len(targets), squeeze=False)[0], targets.items(), strict=True):
        reliability = target["reliability"]
        axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="perfect")
        axes.plot(reliability["confidence"], reliability["accuracy"], marker="o", color="#1b6ca8", label="measured")
        for x, y, count in zip(reliability["confidence"], reliability["accuracy"], reliability["count"], strict=True):
            axes.annotate(str(count), (x, y), textcoords="offset points", xytext=(6, -10), fontsize=8)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the predicted class", ylabel="fraction that is right")
        axes.set_title(f"{name}: calibration error {reliability['calibration_error']:.3f}")
        axes.legend(loc="upper left")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
