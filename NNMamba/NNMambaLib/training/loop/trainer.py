"""The training loop: averaged weights, mixed precision, several processes, and checkpoints to resume from.

What is random in a step, such as dropout, depends on the seed and the step alone, as a sample depends on the seed and
its number: a run that was killed and resumed ends as one that was not. On CPUs the two are equal to the last bit.

Autocast, gradient scaling and pinned memory have not been run on CUDA so far.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from NNMambaLib.errors import TrainingError
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.networks.scan.selective_scan import resolve_backend
from NNMambaLib.networks.variants import build
from NNMambaLib.runtime.child_python import iterate_safely
from NNMambaLib.runtime.devices import training_device
from NNMambaLib.runtime.forks import note_use, refuse_after_fork
from NNMambaLib.training.loop.averaging import move_average
from NNMambaLib.training.loop.checkpoint import read_checkpoint, write_checkpoint
from NNMambaLib.training.loop.distributed import mean_over_processes, process_count, rank
from NNMambaLib.training.loop.optimization import learning_rate, make_optimizer
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.training.objectives.objective import Objective

MakeDataset = Callable[[int, int], Dataset]


@dataclass(frozen=True)
class CurvePoint:
    """A point of the curves.

    Attributes:
        step: steps done.
        loss: the mean since the point before.
        learning_rate: of the step just done.
        metrics: of the validation, by name; empty where there was none.
    """

    step: int
    loss: float
    learning_rate: float
    metrics: dict[str, float] = field(default_factory=dict)


def check_means(precision: str, device: torch.device, backend: str) -> None:
    """Refuse a precision that a device has not, and a backend of the selective scan that cannot serve it.

    Raises:
        TrainingError, BackendError: naming the one that cannot be had.
    """
    if precision == "float16" and device.type != "cuda":
        raise TrainingError(f"precision is float16 and the device is {device}: choose bfloat16 or float32.")
    resolve_backend(backend, device)


class Trainer:
    """Holds the network, its average, the optimizer and the step; `run` goes on from there.

    Args:
        objective: what is learnt, see `Objective`.
        settings: how.
        device: such as ``cpu``; ``auto`` takes a CUDA device where there is one.
        backend: of the selective scan.

    Raises:
        BackendError: if the process was forked from one in which an engine or a training has run.
        TrainingError, BackendError: as in `check_means`.
    """

    def __init__(self, objective: Objective, settings: TrainingSettings, device: str = "auto", backend: str = "auto"):
        refuse_after_fork()
        note_use()
        self.objective = objective
        self.settings = TrainingSettings(**_settings_dict(settings))
        self.device = training_device(device)
        self.step = 0
        self.history: list[CurvePoint] = []
        check_means(settings.precision, self.device, backend)
        torch.manual_seed(settings.seed)
        self.network = objective.build_network()
        set_scan_backend(self.network, backend)
        # On CPUs the gradients of thin 3-D convolutions take a third less time with the channels last.
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[reportCallIssue] # torch lacks the overload
        self.averaged = copy.deepcopy(self.network)
        self.optimizer = make_optimizer(self.network.parameters(), self.settings)
        self._backend = backend
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "float16")
        # Every process must see all gradients, so the network is wrapped; checkpoints and averages see it as it is.
        self._parallel = DistributedDataParallel(self.network) if process_count() > 1 else self.network

    def run(
        self,
        make_dataset: MakeDataset,
        checkpoint: str | Path,
        report: Callable[[CurvePoint], None],
        validate: Callable[[nn.Module], dict[str, float]] | None = None,
        after_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Train to `settings.steps`, writing `checkpoint` at intervals and at the end.

        Args:
            make_dataset: (first, length) -> the samples from number `first` on, so that a resumed run sees new ones;
                each is (intensity float32 (channel, z, y, x), the objective's target).
            report: called after each checkpoint; of several processes, in the first.
            validate: returns the metrics of the network that `result` returns; of several processes, in the first.
            after_step: called with the steps done.
        """
        refuse_after_fork()
        settings = self.settings
        losses = []
        for intensity, target in iterate_safely(self._loader(make_dataset)):
            losses.append(self._update(intensity, target))
            after_step(self.step)
            last = self.step == settings.steps
            if self.step % settings.checkpoint_every == 0 or last:
                loss = mean_over_processes(sum(losses) / len(losses), self.device)
                losses.clear()
                if rank() == 0:
                    metrics = {}
                    if validate is not None and (self.step % settings.validate_every == 0 or last):
                        metrics = validate(self.result())
                    self.history.append(CurvePoint(self.step, loss, learning_rate(self.step - 1, settings), metrics))
                    self.save(checkpoint)
                    report(self.history[-1])

    def save(self, path: str | Path) -> None:
        """Write everything that `resume` needs."""
        content = {
            "settings": asdict(self.settings),
            "step": self.step,
            "history": [asdict(point) for point in self.history],
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        write_checkpoint(path, content)

    @classmethod
    def resume(
        cls,
        objective: Objective,
        checkpoint: str | Path,
        steps: int | None = None,
        device: str = "auto",
        backend: str = "auto",
    ) -> Trainer:
        """Return the trainer as `save` left it, with another total of steps where `steps` is given.

        Raises:
            TrainingError: if the file is not a checkpoint, or one of another network.
        """
        content = read_checkpoint(checkpoint)
        try:
            settings = TrainingSettings(**content["settings"])
            trainer = cls(objective, settings if steps is None else replace(settings, steps=steps), device, backend)
            trainer.step = content["step"]
            trainer.history = [CurvePoint(**point) for point in content["history"]]
            trainer.network.load_state_dict(content["network"])
            trainer.averaged.load_state_dict(content["averaged"])
            trainer.optimizer.load_state_dict(content["optimizer"])
            trainer._scaler.load_state_dict(content["scaler"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            complaint = " ".join(str(error).split()[:20])
            raise TrainingError(
                f"{checkpoint} does not fit this training ({complaint}): remove it to train from the start."
            ) from error
        return trainer

    def result(self) -> nn.Module:
        """Return the averaged network as it is packaged: without heads of deep supervision, in evaluation mode."""
        network = build(self.objective.network)
        wanted = network.state_dict().keys()
        network.load_state_dict({name: value for name, value in self.averaged.state_dict().items() if name in wanted})
        set_scan_backend(network, self._backend)
        return network.to(self.device).eval()

    def _loader(self, make_dataset: MakeDataset) -> DataLoader:
        """Return the remaining batches of this process."""
        settings, count = self.settings, process_count()
        together = settings.batch_size * count
        steps = settings.steps - self.step
        return DataLoader(
            make_dataset(self.step * together, steps * together),
            batch_sampler=_Batches(steps, settings.batch_size, rank(), count),
            num_workers=settings.workers,
            pin_memory=self.device.type == "cuda",
            # Otherwise the loader would take random numbers from the generator of dropout.
            generator=torch.Generator(),
        )

    def _update(self, intensity: torch.Tensor, target: torch.Tensor) -> float:
        settings = self.settings
        rate = learning_rate(self.step, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.objective.prepare_step(self.network, self.step / settings.steps)
        self.network.train()
        torch.manual_seed(int(np.random.SeedSequence((settings.seed, self.step, rank())).generate_state(1)[0]))
        intensity = intensity.to(self.device, memory_format=torch.channels_last_3d, non_blocking=True)
        target = target.to(self.device, non_blocking=True)
        lower = settings.precision != "float32"
        with torch.autocast(self.device.type, getattr(torch, settings.precision) if lower else None, enabled=lower):
            outputs = self._parallel(intensity)
        loss = self.objective.loss(_in_float32(outputs), target)
        value = loss.item()
        if not np.isfinite(value):
            raise TrainingError(
                f"The loss of step {self.step + 1} is {value}: lower learning_rate, or choose precision float32."
            )
        self.optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.step += 1
        move_average(self.averaged, self.network, settings.average_decay, self.step)
        return value


class _Batches:
    """The indices of each step's samples for one of `count` processes; the processes' batches follow each other."""

    def __init__(self, steps: int, size: int, rank: int, count: int):
        self._steps, self._size, self._rank, self._count = steps, size, rank, count

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._steps):
            first = (step * self._count + self._rank) * self._size
            yield list(range(first, first + self._size))


def _in_float32(outputs: torch.Tensor | list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
    return outputs.float() if isinstance(outputs, torch.Tensor) else [output.float() for output in outputs]


def _settings_dict(settings: TrainingSettings) -> dict:
    """Return the settings without what a subclass adds."""
    return {entry.name: getattr(settings, entry.name) for entry in fields(TrainingSettings)}
