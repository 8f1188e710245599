"""Train `brain-structures`.

    python -m NNMambaBrainModels.brain_structures.train --heads DIR --checkpoint FILE [--initial FILE] [--steps N]

trains on the head models that `label_maps` and `abagen_heads` wrote. Run again with the same checkpoint,
training resumes.
"""

from __future__ import annotations

from NNMambaBrainModels.brain_structures.samples import SyntheticHeads
from NNMambaBrainModels.heads.head_model import load_heads
from NNMambaBrainModels.heads.structure_labels import StructureLabel
from NNMambaBrainModels.synthesis.deformation import DeformationSettings
from NNMambaBrainModels.synthesis.synthesis import SynthesisSettings
from NNMambaBrainModels.training_run import run_training, training_parser
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.training.objectives.segmentation import SegmentationObjective

# Acquired volumes teach what a scanner shows; the others teach how heads differ.
TRAINING_HEADS = {"ch2": 0.25, "09c": 0.20, "atlas-*": 0.30, "abagen-*": 0.25}
DATA_SEED = 2028
NETWORK = NetworkDescription("SEG-CSS", in_channels=1, out_channels=len(StructureLabel), base_width=8)
SETTINGS = TrainingSettings(
    steps=1000,
    learning_rate=2e-3,
    weight_decay=0.2,
    warm_up_steps=50,
    average_decay=0.99,
    precision="bfloat16",
    workers=1,
    checkpoint_every=25,
)
# A patch of 120 x 144 x 120 mm, which lies anywhere on the head.
SYNTHESIS = SynthesisSettings(
    shape=(80, 96, 80),
    spacing=1.5,
    t1_like_probability=0.6,
    bias_field=(0.0, 0.6),
    neck_probability=0.85,
    neck_brightness=0.5,
    deformation=DeformationSettings(translation=(60.0, 40.0, 26.0)),
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    options = training_parser(__doc__).parse_args(arguments)
    heads = load_heads(options.heads, TRAINING_HEADS)

    def make_dataset(first: int, length: int) -> SyntheticHeads:
        return SyntheticHeads(heads, SYNTHESIS, DATA_SEED, length, first)

    run_training(options, SegmentationObjective(NETWORK), SETTINGS, make_dataset)


if __name__ == "__main__":
    main()
