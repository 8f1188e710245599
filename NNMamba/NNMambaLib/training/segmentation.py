"""Train a segmentation network: soft Dice + cross-entropy, AdamW, cosine schedule, averaged weights, resumable."""

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from NNMambaLib.networks.variants import build_network
from NNMambaLib.training.losses import deeply_supervised, membership


@dataclass(frozen=True)
class TrainingSettings:
    """What a segmentation network is and how it is trained; saved beside its checkpoints.

    steps: optimizer steps in all. average_decay: decay a step of the exponential moving average of the weights.
    clip_norm: largest norm of the gradient. output_gain: see `sharpen_output`. leak: initial
    slope of the output's rectifier below zero; it falls to none at `leak_until` of the steps. workers: processes that
    make samples.
    """

    variant: str = "SEG-CSS"
    in_channels: int = 1
    out_channels: int = 7
    base_width: int = 8
    steps: int = 1400
    batch_size: int = 2
    learning_rate: float = 3e-3
    warm_up_steps: int = 50
    weight_decay: float = 1e-2
    clip_norm: float = 5.0
    output_gain: float = 3.0
    leak: float = 0.2
    leak_until: float = 0.7
    average_decay: float = 0.99
    checkpoint_every: int = 50
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True)
class Progress:
    """One report: the step just finished and the mean loss since the last report."""

    step: int
    loss: float


class SegmentationTrainer:
    """Holds network, averaged network, optimizer and step; `run` carries on from wherever they stand."""

    def __init__(self, settings: TrainingSettings):
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.step = 0
        self.network = build_network(
            settings.variant,
            in_channels=settings.in_channels,
            out_channels=settings.out_channels,
            base_width=settings.base_width,
            deep_supervision=True,
        )
        sharpen_output(self.network, settings.output_gain)
        # On CPUs the gradients of thin 3-D convolutions take a third less time with the channels last.
        self.network.to(memory_format=torch.channels_last_3d)
        self.averaged = copy.deepcopy(self.network)
        # Rectified logits give a label that is nowhere positive no gradient, so it would never come back. A leak keeps
        # all labels alive until they have been learnt; it has no parameters, and the averaged network has none of it.
        self._rectifier = nn.LeakyReLU(settings.leak)
        self.network.conv8.conv[-1] = self._rectifier
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def run(
        self,
        make_dataset: Callable[[int, int], Dataset],
        checkpoint: Path,
        report: Callable[[Progress], None],
    ) -> None:
        """Train to `settings.steps`, writing `checkpoint` at intervals and at the end.

        make_dataset(first, length): the samples from number `first` on, so that a resumed run sees new ones.
        """
        settings = self.settings
        first = self.step * settings.batch_size
        remaining = (settings.steps - self.step) * settings.batch_size
        loader = DataLoader(make_dataset(first, remaining), settings.batch_size, num_workers=settings.workers)
        losses = []
        for intensity, labels in loader:
            losses.append(self._update(intensity, labels))
            if self.step % settings.checkpoint_every == 0 or self.step == settings.steps:
                self.save(checkpoint)
                report(Progress(self.step, sum(losses) / len(losses)))
                losses.clear()

    def save(self, path: Path) -> None:
        """Write everything that `resume` needs."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "settings": asdict(self.settings),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = path.with_suffix(".partial")
        torch.save(content, partial)
        partial.replace(path)

    @classmethod
    def resume(cls, path: Path, steps: int | None = None) -> "SegmentationTrainer":
        """The trainer as `save` left it; with another number of steps in all where `steps` is given."""
        content = torch.load(path, weights_only=True)
        settings = TrainingSettings(**content["settings"])
        trainer = cls(settings if steps is None else replace(settings, steps=steps))
        trainer.step = content["step"]
        trainer.network.load_state_dict(content["network"])
        trainer.averaged.load_state_dict(content["averaged"])
        trainer.optimizer.load_state_dict(content["optimizer"])
        return trainer

    def result(self) -> nn.Module:
        """The averaged network as it is used: without the heads of deep supervision, in evaluation mode."""
        settings = self.settings
        network = build_network(
            settings.variant,
            in_channels=settings.in_channels,
            out_channels=settings.out_channels,
            base_width=settings.base_width,
            deep_supervision=False,
        )
        wanted = network.state_dict().keys()
        network.load_state_dict({name: value for name, value in self.averaged.state_dict().items() if name in wanted})
        return network.eval()

    def _update(self, intensity: torch.Tensor, labels: torch.Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.settings)
        self._rectifier.negative_slope = leak(self.step, self.settings)
        self.network.train()
        intensity = intensity.to(memory_format=torch.channels_last_3d)
        loss = deeply_supervised(self.network(intensity), membership(labels, self.settings.out_channels))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.step += 1
        self._average()
        return loss.item()

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged network, buffers included, towards the trained one; start quickly."""
        decay = min(self.settings.average_decay, (1 + self.step) / (10 + self.step))
        # Parameters and buffers, not state_dict entries: a shared layer has two names and must move once.
        for mean, current in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(current, 1 - decay)
        for mean, current in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(current, 1 - decay)
            else:
                mean.copy_(current)


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then a cosine down to zero at the last step."""
    if step < settings.warm_up_steps:
        return settings.learning_rate * (step + 1) / settings.warm_up_steps
    done = (step - settings.warm_up_steps) / max(1, settings.steps - settings.warm_up_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def leak(step: int, settings: TrainingSettings) -> float:
    """Slope of the output's rectifier below zero: falls linearly to zero."""
    return settings.leak * max(0.0, 1 - step / (settings.leak_until * settings.steps))


@torch.no_grad()
def sharpen_output(network: nn.Module, gain: float) -> None:
    """Start the output's BatchNorm at scale `gain`, and its shift at `gain` for the background.

    The logits are normalized and rectified. At scale 1 the background, most of the volume, reaches a logit of about
    0.4 against at least 0 for the rest, and Adam would spend hundreds of steps on growing the scale alone.
    """
    norm = network.conv8.conv[4]
    norm.weight.fill_(gain)
    norm.bias.zero_()
    norm.bias[0] = gain


@torch.no_grad()
def recalibrate_batch_norm(network: nn.Module, loader: DataLoader) -> None:
    """Replace the running statistics of every BatchNorm by the plain mean over the batches of `loader`.

    Averaged weights never saw the statistics that were collected with the trained ones.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for intensity, _ in loader:
        network(intensity)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
