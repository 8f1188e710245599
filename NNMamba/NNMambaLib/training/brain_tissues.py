"""The `brain-tissues` recipe.

    python -m NNMambaLib.training.brain_tissues --heads DIR --checkpoint FILE [--steps N]

trains on the head models that `label_maps` wrote; started again with the same checkpoint, it carries on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.brain_labels import OutputLabel
from NNMambaLib.training.dataset import SyntheticHeads
from NNMambaLib.training.head_model import HeadModel
from NNMambaLib.training.objectives.segmentation import SegmentationObjective
from NNMambaLib.training.settings import TrainingSettings
from NNMambaLib.training.synthesis import SynthesisSettings
from NNMambaLib.training.trainer import Progress, Trainer

# Acquired volumes teach what a scanner shows; the atlas draws teach how heads differ.
HEAD_WEIGHTS = {"ch2": 0.35, "09c": 0.25}
ATLAS_WEIGHT = 0.4
TRAINING_SOURCES = ("ch2", "09c-T1w", "09c-T2w", "samseg-atlas", "samseg-template")
DATA_SEED = 2026
NETWORK = NetworkDescription("SEG-CSS", in_channels=1, out_channels=len(OutputLabel), base_width=8)
SETTINGS = TrainingSettings(
    steps=1400, learning_rate=3e-3, warm_up_steps=50, average_decay=0.99, checkpoint_every=50, workers=1
)


def load_heads(folder: Path) -> list[tuple[HeadModel, float]]:
    """Head models of `folder` with their weights. Raises FileNotFoundError when an acquired head is missing."""
    acquired = [(HeadModel.load(folder / f"{name}.npz"), weight) for name, weight in HEAD_WEIGHTS.items()]
    draws = sorted(folder.glob("atlas-*.npz"))
    return acquired + [(HeadModel.load(path), ATLAS_WEIGHT / len(draws)) for path in draws]


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="all steps; given to a run that is carried on, it moves its end")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    heads = load_heads(options.heads)
    objective = SegmentationObjective(NETWORK)
    if options.checkpoint.exists():
        trainer = Trainer.resume(objective, options.checkpoint, steps=options.steps)
    else:
        trainer = Trainer(objective, replace(SETTINGS, steps=options.steps or SETTINGS.steps))

    def make_dataset(first: int, length: int) -> SyntheticHeads:
        return SyntheticHeads(heads, SynthesisSettings(), DATA_SEED, length, first)

    def report(progress: Progress) -> None:
        print(f"step {progress.step}/{trainer.settings.steps}  loss {progress.loss:.4f}", flush=True)

    trainer.run(make_dataset, options.checkpoint, report)


if __name__ == "__main__":
    main()
