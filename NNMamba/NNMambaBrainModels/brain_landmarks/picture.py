"""Draw the landmarks that `brain-landmarks` misplaces most under deformations, for its card.

    python -m NNMambaBrainModels.brain_landmarks.picture --heads DIR --sources DIR
        --evaluation DIR --output PNG

`--evaluation` is what `brain_landmarks.evaluate` wrote. Each slice goes through the true position (circle); the
cross is what was found, projected onto it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NNMambaBrainModels.brain_landmarks.evaluate import deformed
from NNMambaBrainModels.brain_landmarks.train import average_head
from NNMambaBrainModels.command_line import command_parser
from NNMambaLib.evaluation.cases import paired_markups
from NNMambaLib.export.markups_file import read_markups
from NNMambaLib.export.slices import ANATOMICAL_PLANES, gray, plane, show
from NNMambaLib.files import atomic_file
from NNMambaLib.volumes.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORST = 4
_FOLDERS = {"deformed-t1": "T1w", "deformed-t2": "T2w"}
_WIDTH_MM = 80.0
_ROW_INCHES = (7.2, 1.9)


def worst_landmarks(folder: Path) -> list[tuple[float, str, str, np.ndarray, np.ndarray]]:
    """Return the worst landmarks: error in mm, case, name, true and found position (LPS mm); no case or name twice."""
    errors = []
    for case, (found, truth) in paired_markups(folder / "prediction", folder / "reference").items():
        found, truth = read_markups(found), read_markups(truth)
        for name, position in truth.items():
            if position is not None and found[name] is not None:
                position, where = np.array(position), np.array(found[name])
                errors.append((float(np.linalg.norm(where - position)), case, name, position, where))
    chosen: list[tuple[float, str, str, np.ndarray, np.ndarray]] = []
    for error in sorted(errors, key=lambda entry: -entry[0]):
        if len(chosen) < WORST and all(error[1] != other[1] and error[2] != other[2] for other in chosen):
            chosen.append(error)
    return chosen


def draw(heads: Path, sources: Path, evaluation: Path, output: Path) -> None:
    """Write a PNG with a row for each contrast: its worst landmarks on sagittal slices."""
    from matplotlib.figure import Figure

    width, height = _ROW_INCHES
    figure = Figure(figsize=(width, height * len(_FOLDERS)), layout="constrained", dpi=90)
    rows = figure.subplots(len(_FOLDERS), WORST)
    for (folder, contrast), row in zip(_FOLDERS.items(), rows, strict=True):
        head = average_head(heads, sources, contrast)
        for axes, (error, case, name, truth, found) in zip(row, worst_landmarks(evaluation / folder), strict=False):
            volume, _ = deformed(head, int(case))
            draw_landmark(axes, volume, truth, found, f"{contrast} {name}: {error:.1f} mm")
    with atomic_file(output) as temporary:
        figure.savefig(temporary, format="png")


def draw_landmark(axes: Axes, volume: Volume, truth: np.ndarray, found: np.ndarray, title: str) -> None:
    """Draw the sagittal slice about a landmark's true position, and the position found; LPS mm."""
    where = plane(volume.grid, "Sagittal", ANATOMICAL_PLANES["Sagittal"], truth, _WIDTH_MM)
    show(axes, gray(volume, where, (0.0, 1.0)), title, where.letters)
    axes.plot(*where.pixel(truth), "o", markersize=9, fillstyle="none", color="#ffd166")
    axes.plot(*where.pixel(found), "x", markersize=6, color="#ef476f")


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    draw(options.heads, options.sources, options.evaluation, options.output)


if __name__ == "__main__":
    main()
