"""The `brain-scan-check` recipe.

    python -m NNMambaLib.training.recipes.brain_scan_check --heads DIR --checkpoint FILE [--threads N]

trains on the head models that `label_maps` wrote; started again with the same checkpoint, it carries on.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.head_model import HeadModel
from NNMambaLib.training.objectives.classification import ClassificationObjective
from NNMambaLib.training.recipes.run import recipe_parser, run_recipe
from NNMambaLib.training.scan_check_data import CLASSES, ScanCheckSamples, ScanCheckSettings
from NNMambaLib.training.settings import TrainingSettings
from NNMambaLib.training.soft_head import SoftHead

NETWORK = NetworkDescription("CLS", in_channels=1, out_channels=sum(CLASSES), base_width=16)
SETTINGS = TrainingSettings(
    steps=3500,
    batch_size=16,
    learning_rate=2e-3,
    warm_up_steps=100,
    average_decay=0.99,
    checkpoint_every=50,
    workers=1,
)
DATA_SEED = 2026
# Acquired volumes teach what a scanner shows; draws of the atlas teach how heads differ.
TRAINING_HEADS = {"ch2": 0.3, "09c": 0.3, **{f"atlas-{number}": 0.08 for number in range(5)}}
CALIBRATION_HEADS = {"atlas-5": 0.5, "atlas-6": 0.5}
TRAINING_SOURCES = ("ch2", "09c-T1w", "09c-T2w", "samseg-atlas", "samseg-template")


@dataclass(frozen=True)
class ScanCheckObjective(ClassificationObjective):
    """Four targets through sixteen hidden features, all of which are needed: none is dropped, none may die.

    Rectified features that are nowhere positive get no gradient and never come back: with the plain rectifier this
    network learnt directions and no contrast at all. While training the rectifier leaks, at first wholly.

    leak_until: the part of training at which the rectifier is plain; its slope below zero falls linearly from 1.
    """

    leak_until: float = 0.7

    def build_network(self) -> nn.Module:
        network = super().build_network()
        network.mlp[1] = nn.LeakyReLU(1.0)
        network.mlp[2] = nn.Dropout(0.0)
        return network

    def prepare_step(self, network: nn.Module, done: float) -> None:
        network.mlp[1].negative_slope = max(0.0, 1 - done / self.leak_until)


def load_heads(folder: Path, weights: dict[str, float]) -> list[tuple[SoftHead, float]]:
    """Heads of `folder` with their weights. Raises FileNotFoundError when one is missing."""
    return [(SoftHead.of(HeadModel.load(folder / f"{name}.npz")), weight) for name, weight in weights.items()]


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    options = recipe_parser(__doc__.splitlines()[0]).parse_args(arguments)
    heads = load_heads(options.heads, TRAINING_HEADS)

    def make_dataset(first: int, length: int) -> ScanCheckSamples:
        return ScanCheckSamples(heads, ScanCheckSettings(), DATA_SEED, length, first)

    run_recipe(options, ScanCheckObjective(NETWORK, CLASSES), SETTINGS, make_dataset)


if __name__ == "__main__":
    main()
