"""Draw where `brain-structures` leaves the reference, on the slices where it does so most, for its card.

    python -m NNMambaBrainModels.brain_structures.picture --sources DIR --evaluation DIR --output FILE.png

`--evaluation` is the output of `evaluate_brain_structures`. Red: called brain or its fluid outside the shipped mask;
blue: missed within it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from NNMambaBrainModels.heads.held_out import HELD_OUT, held_out_volume
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.resampling import resample

_PERCENTILES = (0.5, 99.5)
_ROW_INCHES = (7.2, 2.5)
_OUTSIDE, _MISSED = (230, 60, 40), (60, 140, 255)
_AXES = ("axial", "coronal", "sagittal")


def colored_slice(gray: np.ndarray, outside: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """A slice of grey values in 0..1 as uint8 RGB, both kinds of error painted."""
    picture = np.repeat((255 * gray).astype(np.uint8)[..., None], 3, axis=-1)
    picture[outside], picture[missed] = _OUTSIDE, _MISSED
    return picture


def draw(sources: Path, evaluation: Path, output: Path) -> None:
    """A row for each person whose mask is shipped; a column for each of the axes."""
    from matplotlib.figure import Figure

    heads = [head for head in HELD_OUT if head.mask is not None]
    width, height = _ROW_INCHES
    figure = Figure(figsize=(width, height * len(heads)), layout="constrained", dpi=90)
    for head, row in zip(heads, figure.subplots(len(heads), 3), strict=True):
        found, truth = (
            read_volume(evaluation / "brain" / kind / f"{head.name}.nii.gz").reoriented("RAS")
            for kind in ("prediction", "reference")
        )
        gray = resample(held_out_volume(head, sources), found.grid).array[0]
        low, high = np.percentile(gray, _PERCENTILES)
        gray = np.clip((gray - low) / (high - low), 0, 1)
        found, truth, spacing = found.array[0] > 0, truth.array[0] > 0, found.grid.spacing[::-1]
        wrong = found != truth
        for axis, axes in enumerate(row):
            across = tuple(other for other in range(3) if other != axis)
            worst = int(wrong.sum(across).argmax())
            outside, missed = found & ~truth, truth & ~found
            axes.imshow(
                colored_slice(*(volume.take(worst, axis) for volume in (gray, outside, missed))),
                origin="lower",
                aspect=spacing[across[0]] / spacing[across[1]],
            )
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{head.name}, {_AXES[axis]} {worst}", fontsize=8)
    figure.savefig(output)


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    draw(options.sources, options.evaluation, options.output)


if __name__ == "__main__":
    main()
