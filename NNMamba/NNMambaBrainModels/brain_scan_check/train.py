"""Train `brain-scan-check`.

    python -m NNMambaBrainModels.brain_scan_check.train --heads DIR --checkpoint FILE [--threads N]
    python -m NNMambaBrainModels.brain_scan_check.train --stage 2 --initial WEIGHTS --heads DIR --checkpoint FILE

trains in two stages on the head models that `label_maps` wrote. Run again with the same checkpoint, a stage resumes.
The second starts from the weights that `brain_scan_check.package` made of the first, and weights the contrast more: the
first ends with every direction learnt, and with T1-like volumes mistaken for FLAIR-like ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from NNMambaBrainModels.brain_scan_check.samples import CLASSES, ScanCheckSamples, ScanCheckSettings
from NNMambaBrainModels.heads.head_model import load_heads
from NNMambaBrainModels.heads.soft_head import SoftHead
from NNMambaBrainModels.training_run import run_training, training_parser
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.training.objectives.classification import ClassificationObjective

NETWORK = NetworkDescription("CLS", in_channels=1, out_channels=sum(CLASSES), base_width=16)
# Acquired volumes teach what a scanner shows, samples of the atlas how heads differ.
TRAINING_HEADS = {"ch2": 0.3, "09c": 0.3, **{f"atlas-{number}": 0.08 for number in range(5)}}
CALIBRATION_HEADS = {"atlas-5": 0.5, "atlas-6": 0.5}


@dataclass(frozen=True)
class ScanCheckObjective(ClassificationObjective):
    """Four targets through sixteen hidden features, all of which are needed: no dropout, and none may die.

    A feature whose ReLU is zero everywhere gets no gradient: with a plain ReLU this network learnt directions and no
    contrast at all. So the ReLU leaks while training, at first completely.

    leak, leak_until: slope of the ReLU below zero at first, and the part of training by which it has fallen linearly
        to zero.
    contrast_weight: of the contrast's cross-entropy; each direction weighs 1.
    """

    leak: float = 1.0
    leak_until: float = 0.7
    contrast_weight: float = 1.0

    def build_network(self) -> nn.Module:
        network = super().build_network()
        mlp = _mlp(network)
        mlp[1], mlp[2] = nn.LeakyReLU(self.leak), nn.Dropout(0.0)
        return network

    def prepare_step(self, network: nn.Module, done: float) -> None:
        leaky = _mlp(network)[1]
        assert isinstance(leaky, nn.LeakyReLU), "build_network put it there"
        leaky.negative_slope = self.leak * max(0.0, 1 - done / self.leak_until)

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean cross-entropy of the targets that are known."""
        total, known = outputs.new_zeros(()), outputs.new_zeros(())
        weights = (1.0, 1.0, 1.0, self.contrast_weight)
        parts = zip(outputs.split(self.classes, dim=1), target.split(self.classes, dim=1), strict=True)
        for weight, (logits, p) in zip(weights, parts, strict=True):
            total = total + weight * functional.cross_entropy(logits, p, reduction="sum")
            known = known + weight * (p.sum(1) > 0).sum()
        return total / known.clamp_min(1)


def _mlp(network: nn.Module) -> nn.Sequential:
    """Return the layers of a CLS network after its pooling."""
    mlp = network.mlp
    assert isinstance(mlp, nn.Sequential), "CLS networks have one"
    return mlp


@dataclass(frozen=True)
class Stage:
    """A stage of training: its objective, its settings, and the seed of its samples."""

    objective: ScanCheckObjective
    settings: TrainingSettings
    data_seed: int


_SHARED = {"batch_size": 16, "average_decay": 0.99, "checkpoint_every": 50, "workers": 1}
STAGES = (
    Stage(
        ScanCheckObjective(NETWORK, CLASSES),
        TrainingSettings(steps=3500, learning_rate=2e-3, warm_up_steps=100, **_SHARED),
        2026,
    ),
    Stage(
        ScanCheckObjective(NETWORK, CLASSES, leak=0.2, contrast_weight=4.0),
        TrainingSettings(steps=2500, learning_rate=1.5e-3, warm_up_steps=50, **_SHARED),
        2028,
    ),
)


def load_soft_heads(folder: Path, weights: Mapping[str, float]) -> list[tuple[SoftHead, float]]:
    """Return the heads of `folder` with their weights; raises FileNotFoundError if one is missing."""
    return [(SoftHead.of(head), weight) for head, weight in load_heads(folder, weights)]


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = training_parser(__doc__)
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1)
    options = parser.parse_args(arguments)
    heads = load_soft_heads(options.heads, TRAINING_HEADS)
    stage = STAGES[options.stage - 1]

    def make_dataset(first: int, length: int) -> ScanCheckSamples:
        return ScanCheckSamples(heads, ScanCheckSettings(), stage.data_seed, length, first)

    run_training(options, stage.objective, stage.settings, make_dataset)


if __name__ == "__main__":
    main()
