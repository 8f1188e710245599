"""Write the `brain-tissues` model package from a training checkpoint.

    python -m NNMambaLib.training.package_brain_tissues --heads DIR --checkpoint FILE --sources DIR [--samseg DIR]

recalibrates BatchNorm on synthetic samples, stores the weights in half precision, measures, and puts the figures
into the manifest. The model card beside it is written by hand and left alone.
"""

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from NNMambaLib.models.manifest import (
    Channel,
    Code,
    InputSpecification,
    Label,
    Manifest,
    Metric,
    Normalisation,
    Terminology,
)
from NNMambaLib.models.package import open_package, write_package
from NNMambaLib.training.averaging import recalibrate_batch_norm
from NNMambaLib.training.brain_labels import OutputLabel
from NNMambaLib.training.brain_tissues import DATA_SEED, NETWORK, TRAINING_SOURCES, load_heads
from NNMambaLib.training.dataset import SyntheticHeads
from NNMambaLib.training.evaluate_brain_tissues import PACKAGE, evaluate
from NNMambaLib.training.fetch_data import SOURCES
from NNMambaLib.training.objectives.segmentation import SegmentationObjective
from NNMambaLib.training.settings import TrainingSettings
from NNMambaLib.training.synthesis import NORMALIZATION_PERCENTILES, SynthesisSettings
from NNMambaLib.training.trainer import Trainer

VERSION = "0.1.0"
RECALIBRATION_SAMPLES = 32
# Names, colors (Okabe and Ito's palette, told apart with any color vision) and SNOMED CT types as in Slicer's
# terminology lists. No single concept covers the deep nuclei together, so their type is the wider "Gray Matter".
LABELS = {
    OutputLabel.CORTICAL_GRAY_MATTER: ("Cortical gray matter", (230, 159, 0), "40146001", "Cerebral cortex"),
    OutputLabel.WHITE_MATTER: ("Cerebral white matter", (240, 240, 240), "68523003", "Cerebral White Matter"),
    OutputLabel.CSF: ("Cerebrospinal fluid", (0, 114, 178), "65216001", "Cerebrospinal Fluid"),
    OutputLabel.DEEP_GRAY_MATTER: ("Deep gray matter", (0, 158, 115), "389081007", "Gray Matter"),
    OutputLabel.CEREBELLUM: ("Cerebellum", (204, 121, 167), "113305005", "Cerebellum"),
    OutputLabel.BRAINSTEM: ("Brainstem", (213, 94, 0), "119238007", "Brain stem"),
}
ANATOMICAL_STRUCTURE = Code("SCT", "123037004", "Anatomical Structure")


def make_manifest(settings: TrainingSettings, metrics: tuple[Metric, ...]) -> Manifest:
    """The manifest of a network trained with `settings`."""
    synthesis = SynthesisSettings()
    low, high = NORMALIZATION_PERCENTILES
    return Manifest(
        name="brain-tissues",
        version=VERSION,
        title="Brain tissues (head MR)",
        description=(
            "Cerebral cortex, white matter, cerebrospinal fluid, deep gray matter, cerebellum and brainstem on a "
            "head MR volume, T1-weighted at best, with the skull."
        ),
        task="segmentation",
        network=NETWORK,
        input=InputSpecification(
            channels=(
                Channel(
                    "MR", Normalisation("percentile", mask="all", low=low, high=high), ("t1", "t1w", "mprage", "mr")
                ),
            ),
            patch=synthesis.shape[::-1],
            spacing=(synthesis.spacing,) * 3,
            orientation="RAS",
            mirror_axes=("x",),
        ),
        labels=tuple(
            Label(int(label), name, color, Terminology(ANATOMICAL_STRUCTURE, Code("SCT", code, meaning)))
            for label, (name, color, code, meaning) in LABELS.items()
        ),
        metrics=metrics,
        licence="Apache-2.0",
        intended_use="Demonstration and teaching. Not for clinical use.",
        provenance={
            "recipe": "python -m NNMambaLib.training.brain_tissues",
            "steps": settings.steps,
            "seed": settings.seed,
            "data_seed": DATA_SEED,
            "training_data": [
                {"file": SOURCES[name].path, "sha256": SOURCES[name].sha256, "licence": SOURCES[name].licence}
                for name in TRAINING_SOURCES
            ],
        },
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--samseg", type=Path)
    parser.add_argument("--output", type=Path, default=PACKAGE)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    trainer = Trainer.resume(SegmentationObjective(NETWORK), options.checkpoint)
    # Numbers past the last training sample, so that the statistics come from unseen ones.
    first = trainer.settings.steps * trainer.settings.batch_size
    samples = SyntheticHeads(load_heads(options.heads), SynthesisSettings(), DATA_SEED, RECALIBRATION_SAMPLES, first)
    network = trainer.result()
    recalibrate_batch_norm(network, DataLoader(samples, num_workers=1))

    write_package(options.output, make_manifest(trainer.settings, ()), network, half=True)
    metrics = evaluate(open_package(options.output), options.sources, options.samseg)
    rounded = tuple(Metric(m.name, round(m.value, 4), m.data, m.command) for m in metrics)
    write_package(options.output, make_manifest(trainer.settings, rounded), network, half=True)
    for metric in rounded:
        print(f"{metric.value:.4f}  {metric.name}  ({metric.data})")


if __name__ == "__main__":
    main()
