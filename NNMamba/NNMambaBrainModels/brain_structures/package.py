"""Write the `brain-structures` model package from a training checkpoint.

    python -m NNMambaBrainModels.brain_structures.package --heads DIR --checkpoint FILE [--metrics FILE]

recalibrates BatchNorm on synthetic samples and stores the weights in half precision. `--metrics` is a JSON list of
metrics for the manifest. The card beside it is written by hand and not touched.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from NNMambaBrainModels.brain_structures.evaluate import PACKAGE
from NNMambaBrainModels.brain_structures.samples import SyntheticHeads
from NNMambaBrainModels.brain_structures.train import (
    DATA_SEED,
    NETWORK,
    SETTINGS,
    SYNTHESIS,
    TRAINING_HEADS,
)
from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.fetch_data import training_data
from NNMambaBrainModels.heads.head_model import load_heads
from NNMambaBrainModels.heads.structure_labels import StructureLabel
from NNMambaBrainModels.heads.training_sources import TRAINING_SOURCES
from NNMambaLib.models.manifest import (
    Channel,
    Code,
    InputSpecification,
    Label,
    Manifest,
    Metric,
    Terminology,
)
from NNMambaLib.models.package import write_package
from NNMambaLib.training.loop.averaging import recalibrate_batch_norm
from NNMambaLib.training.loop.trainer import Trainer
from NNMambaLib.training.objectives.segmentation import SegmentationObjective

VERSION = "0.1.0"
RECALIBRATION_SAMPLES = 48
_ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
_SIDES = {"LEFT": Code("SCT", "7771000", "Left"), "RIGHT": Code("SCT", "24028007", "Right")}
# Colour and SNOMED CT type, as in Slicer's terminology lists. No code covers basal forebrain and diencephalon
# together: the label carries that of its larger part.
_UNPAIRED = {
    StructureLabel.OTHER_HEAD: ((177, 122, 101), "69536005", "Head"),
    StructureLabel.CEREBRAL_CORTEX: ((230, 159, 0), "40146001", "Cerebral cortex"),
    StructureLabel.CEREBRAL_WHITE_MATTER: ((240, 240, 240), "68523003", "Cerebral White Matter"),
    StructureLabel.VENTRICLES: ((88, 106, 215), "35764002", "Brain ventricle"),
    StructureLabel.CSF: ((0, 158, 215), "65216001", "Cerebrospinal Fluid"),
    StructureLabel.BRAINSTEM: ((213, 94, 0), "119238007", "Brain stem"),
    StructureLabel.CEREBELLUM: ((204, 121, 167), "113305005", "Cerebellum"),
    StructureLabel.BASAL_FOREBRAIN_AND_DIENCEPHALON: ((69, 110, 53), "87563008", "Diencephalon"),
}
_PAIRED = {
    "THALAMUS": ((122, 101, 38), "42695009", "Thalamus"),
    "CAUDATE": ((30, 150, 85), "11000004", "Caudate nucleus"),
    "PUTAMEN": ((210, 157, 166), "89278009", "Putamen"),
    "PALLIDUM": ((48, 129, 126), "14738005", "Globus pallidus"),
    "HIPPOCAMPUS": ((240, 228, 66), "5366008", "Hippocampus"),
    "AMYGDALA": ((98, 153, 112), "4958002", "Amygdala"),
}
_NAMES = {
    StructureLabel.OTHER_HEAD: "Other head",
    StructureLabel.CSF: "Cerebrospinal fluid",
    StructureLabel.BASAL_FOREBRAIN_AND_DIENCEPHALON: "Basal forebrain and ventral diencephalon",
}


def make_label(label: StructureLabel) -> Label:
    """Return the manifest's entry for a label."""
    side, _, structure = label.name.partition("_")
    paired = side in _SIDES
    color, code, meaning = _PAIRED[structure] if paired else _UNPAIRED[label]
    terminology = Terminology(_ANATOMY, Code("SCT", code, meaning), _SIDES[side] if paired else None)
    name = _NAMES.get(label, label.name.replace("_", " ").capitalize())
    return Label(int(label), name, color, terminology)


def make_manifest(steps: int, metrics: tuple[Metric, ...] = (), history: str = "") -> Manifest:
    """Return the manifest after so many steps of training; `history` says what they began from."""
    (z, y, x), spacing = SYNTHESIS.shape, SYNTHESIS.spacing
    return Manifest(
        name="brain-structures",
        version=VERSION,
        title="Brain structures (head MR)",
        description=(
            "Cortex, white matter, ventricles, fluid, brainstem, cerebellum and six deep nuclei of each side on a head "
            "MR volume of any contrast."
        ),
        task="segmentation",
        network=NETWORK,
        input=InputSpecification(
            channels=(
                Channel(
                    "MR",
                    SYNTHESIS.normalization,
                    ("t1", "t1w", "mprage", "t2", "t2w", "pd", "mr"),
                ),
            ),
            patch=(x, y, z),
            spacing=(spacing, spacing, spacing),
            orientation="RAS",
        ),
        labels=tuple(make_label(label) for label in StructureLabel if label),
        metrics=metrics,
        licence="Apache-2.0",
        intended_use="Demonstration and teaching. Not for clinical use.",
        provenance={
            "recipe": "python -m NNMambaBrainModels.brain_structures.train",
            "steps": steps,
            "seed": SETTINGS.seed,
            "data_seed": DATA_SEED,
            "history": history,
            "training_data": training_data(TRAINING_SOURCES),
        },
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--history", default="", help="in words: what the training began from")
    parser.add_argument("--metrics", type=Path)
    parser.add_argument("--output", type=Path, default=PACKAGE)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    trainer = Trainer.resume(SegmentationObjective(NETWORK), options.checkpoint, device="cpu")
    # Numbers past the last training sample, so that the statistics come from unseen ones.
    first = trainer.settings.steps * trainer.settings.batch_size
    heads = load_heads(options.heads, TRAINING_HEADS)
    samples = SyntheticHeads(heads, SYNTHESIS, DATA_SEED, RECALIBRATION_SAMPLES, first)
    network = trainer.result()
    recalibrate_batch_norm(network, DataLoader(samples, batch_size=2, num_workers=1))
    metrics = json.loads(options.metrics.read_text()) if options.metrics else []
    manifest = make_manifest(trainer.step, tuple(Metric(**metric) for metric in metrics), options.history)
    write_package(options.output, manifest, network, half=True)


if __name__ == "__main__":
    main()
