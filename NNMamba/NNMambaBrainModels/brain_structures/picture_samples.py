"""Draw twelve samples of the generator with their labels.

python -m NNMambaBrainModels.brain_structures.picture_samples --heads DIR --output FILE.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from NNMambaBrainModels.brain_structures.package import make_label
from NNMambaBrainModels.brain_structures.samples import SyntheticHeads
from NNMambaBrainModels.brain_structures.train import SYNTHESIS, TRAINING_HEADS
from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.head_model import load_heads
from NNMambaBrainModels.heads.structure_labels import StructureLabel
from NNMambaLib.export.slices import ANATOMICAL_PLANES, gray, paint_labels, plane
from NNMambaLib.files import atomic_file
from NNMambaLib.volumes.volume import LPS_TO_RAS, Volume

SAMPLES, COLUMNS = 12, 6
PICTURE_SEED = 12


def draw(samples: Sequence[tuple[torch.Tensor, torch.Tensor]], path: Path) -> None:
    """Write a PNG: the middle coronal slice of each sample above its labels."""
    from matplotlib.figure import Figure

    rows = len(samples) // COLUMNS
    figure = Figure(figsize=(2 * COLUMNS, 4 * rows), facecolor="black", dpi=80)
    axes = figure.subplots(2 * rows, COLUMNS)
    colors = [make_label(label).color for label in StructureLabel if label]
    matrix = LPS_TO_RAS @ np.diag([SYNTHESIS.spacing] * 3 + [1.0])
    for number, (intensity, labels) in enumerate(samples):
        row, column = divmod(number, COLUMNS)
        volume, label_map = (Volume(array, matrix) for array in (intensity.numpy(), labels.numpy()[None]))
        where = plane(volume.grid, "Coronal", ANATOMICAL_PLANES["Coronal"])
        pixels = gray(volume, where, (0.0, 1.0))
        axes[2 * row, column].imshow(pixels)
        axes[2 * row + 1, column].imshow(paint_labels(np.zeros_like(pixels), where, label_map, colors))
    for panel in axes.ravel():
        panel.axis("off")
    figure.tight_layout(pad=0.2)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    samples = SyntheticHeads(load_heads(options.heads, TRAINING_HEADS), SYNTHESIS, PICTURE_SEED, SAMPLES)
    draw([samples[index] for index in range(SAMPLES)], options.output)


if __name__ == "__main__":
    main()
