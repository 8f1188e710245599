"""Draw where `brain-structures` differs from the reference, on the slices where it does so most, for its card.

    python -m NNMambaBrainModels.brain_structures.picture --sources DIR --evaluation DIR --output FILE.png

`--evaluation` is what `brain_structures.evaluate` wrote. Red: called brain or its fluid outside the shipped mask;
blue: missed within it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.held_out import HELD_OUT, held_out_volume
from NNMambaLib.export.slices import ANATOMICAL_PLANES, Plane, gray, paint_labels, plane, show
from NNMambaLib.files import atomic_file
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.resampling import regular_grid, resample
from NNMambaLib.volumes.volume import Volume

_KINDS = ("prediction", "reference")
_ROW_INCHES = (7.2, 2.5)
# Of label 1, called brain outside the mask, and of label 2, missed within it.
_COLORS = ((230, 60, 40), (60, 140, 255))
_PLANES = ("Axial", "Coronal", "Sagittal")


def errors(found: Volume, truth: Volume) -> Volume:
    """Return where two masks on one grid differ: 1 where only `found` is above zero, 2 where only `truth` is."""
    outside, missed = (found.array > 0) & (truth.array <= 0), (found.array <= 0) & (truth.array > 0)
    return Volume(outside + 2 * missed.astype(np.uint8), found.matrix, found.name)


def worst_plane(wrong: Volume, axis: int) -> Plane:
    """Return the plane across an axis of (z, y, x) with the most wrong voxels; the axes are the patient's."""
    counts = np.count_nonzero(wrong.array[0], axis=tuple(other for other in range(3) if other != axis))
    index = (np.array(wrong.grid.shape) - 1) / 2
    index[axis] = counts.argmax()
    center = wrong.grid.to_physical(index[None, ::-1])[0]
    name = _PLANES[axis]
    return plane(wrong.grid, name, ANATOMICAL_PLANES[name], center)


def draw(sources: Path, evaluation: Path, output: Path) -> None:
    """Write a PNG with a row for each subject whose mask is shipped, and a column for each of the planes."""
    from matplotlib.figure import Figure

    heads = [head for head in HELD_OUT if head.mask is not None]
    width, height = _ROW_INCHES
    figure = Figure(figsize=(width, height * len(heads)), layout="constrained", dpi=90)
    for head, row in zip(heads, figure.subplots(len(heads), 3, squeeze=False), strict=True):
        masks = [read_volume(evaluation / "brain" / kind / f"{head.name}.nii.gz") for kind in _KINDS]
        nearest = masks[0].reoriented("RAS").grid
        grid = regular_grid(nearest, "RAS", nearest.spacing)
        wrong = errors(*(resample(mask, grid, "nearest", outside=0) for mask in masks))
        volume = held_out_volume(head, sources)
        for axis, axes in enumerate(row):
            where = worst_plane(wrong, axis)
            pixels = paint_labels(gray(volume, where), where, wrong, _COLORS)
            show(axes, pixels, f"{head.name}, {where.name.lower()}", where.letters)
    with atomic_file(output) as temporary:
        figure.savefig(temporary, format="png")


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    draw(options.sources, options.evaluation, options.output)


if __name__ == "__main__":
    main()
