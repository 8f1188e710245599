"""Draw twelve samples of the generator with their labels.

python -m NNMambaBrainModels.brain_structures.picture_samples --heads DIR --output FILE.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from NNMambaBrainModels.brain_structures.package import make_label
from NNMambaBrainModels.brain_structures.samples import SyntheticHeads
from NNMambaBrainModels.brain_structures.train import SYNTHESIS, TRAINING_HEADS
from NNMambaBrainModels.heads.head_model import load_heads
from NNMambaBrainModels.heads.structure_labels import StructureLabel

SAMPLES, COLUMNS = 12, 6
PICTURE_SEED = 12


def colors() -> np.ndarray:
    """RGB of every label, 0..1, (labels, 3); the background is black."""
    table = np.zeros((len(StructureLabel), 3))
    for label in StructureLabel:
        if label:
            table[label] = np.array(make_label(label).color) / 255
    return table


def draw(samples: list[tuple[torch.Tensor, torch.Tensor]], path: Path) -> None:
    """Write a PNG: the middle coronal slice of each sample above its labels."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = len(samples) // COLUMNS
    figure, axes = pyplot.subplots(2 * rows, COLUMNS, figsize=(2 * COLUMNS, 4 * rows), facecolor="black")
    table = colors()
    for number, (intensity, labels) in enumerate(samples):
        row, column = divmod(number, COLUMNS)
        middle = intensity.shape[2] // 2
        axes[2 * row, column].imshow(intensity[0, :, middle], cmap="gray", origin="lower", vmin=0, vmax=1)
        axes[2 * row + 1, column].imshow(table[labels[:, middle].numpy()], origin="lower", interpolation="nearest")
    for axis in axes.ravel():
        axis.axis("off")
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=80, facecolor="black")
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    samples = SyntheticHeads(load_heads(options.heads, TRAINING_HEADS), SYNTHESIS, PICTURE_SEED, SAMPLES)
    draw([samples[index] for index in range(SAMPLES)], options.output)


if __name__ == "__main__":
    main()
