"""Draw the landmarks that `brain-landmarks` misplaces most under deformations, for its card.

    python -m NNMambaBrainModels.brain_landmarks.picture --heads DIR --sources DIR
        --evaluation DIR --output PNG

`--evaluation` is the output of `evaluate_brain_landmarks`. Each slice goes through the true position (circle); the
cross is what was found, projected onto it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from NNMambaBrainModels.brain_landmarks.evaluate import deformed
from NNMambaBrainModels.brain_landmarks.train import average_head
from NNMambaLib.evaluation.cases import paired_markups
from NNMambaLib.export.markups_file import read_markups
from NNMambaLib.volumes.volume import Volume

WORST = 4
_FOLDERS = {"deformed-t1": "T1w", "deformed-t2": "T2w"}
_HALF_MM = 40.0
_ROW_INCHES = (7.2, 1.9)


def worst_landmarks(folder: Path) -> list[tuple[float, str, str, np.ndarray, np.ndarray]]:
    """Error in mm, case, name, true and found position (LPS mm) of the worst landmarks, each case and name once."""
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
    """A row for each contrast: its worst landmarks on sagittal slices."""
    from matplotlib.figure import Figure

    width, height = _ROW_INCHES
    figure = Figure(figsize=(width, height * len(_FOLDERS)), layout="constrained", dpi=90)
    rows = figure.subplots(len(_FOLDERS), WORST)
    for (folder, contrast), row in zip(_FOLDERS.items(), rows, strict=True):
        head = average_head(heads, sources, contrast)
        for axes, (error, case, name, truth, found) in zip(row, worst_landmarks(evaluation / folder), strict=False):
            volume, _ = deformed(head, int(case))
            _draw_landmark(axes, volume, truth, found)
            axes.set_title(f"{contrast} {name}: {error:.1f} mm", fontsize=7)
    figure.savefig(output)


def _draw_landmark(axes, volume: Volume, truth: np.ndarray, found: np.ndarray) -> None:
    x, *center = volume.grid.to_index([truth])[0]
    where = volume.grid.to_index([found])[0][1:]
    half = _HALF_MM / volume.grid.spacing[0]
    axes.imshow(volume.array[0, :, :, round(x)], cmap="gray", origin="lower", vmin=0, vmax=1)
    axes.plot(*center, "o", markersize=9, fillstyle="none", color="#ffd166")
    axes.plot(*where, "x", markersize=6, color="#ef476f")
    axes.set(xticks=[], yticks=[])
    axes.set_xlim(center[0] - half, center[0] + half)
    axes.set_ylim(center[1] - half, center[1] + half)


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    draw(options.heads, options.sources, options.evaluation, options.output)


if __name__ == "__main__":
    main()
