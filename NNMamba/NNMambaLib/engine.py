"""The engine: volumes and models in, results out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from NNMambaLib.errors import BackendError
from NNMambaLib.inference.memory_plan import MemoryNeed
from NNMambaLib.inference.run import Resources, Run
from NNMambaLib.inference.tasks import task_named
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.networks.convolution import bfloat16_unavailable_reason
from NNMambaLib.networks.description import PRECISIONS, NetworkDescription
from NNMambaLib.networks.folding.fold import fold
from NNMambaLib.networks.scan.selective_scan import resolve_backend
from NNMambaLib.progress import Monitor, Progress
from NNMambaLib.results import ClassificationResult, LandmarksResult, SegmentationResult
from NNMambaLib.runtime.devices import resolve_device
from NNMambaLib.runtime.forks import note_use, refuse_after_fork
from NNMambaLib.volumes.volume import Volume

OnProgress = Callable[[Progress], None]
IsCancelled = Callable[[], bool]
OnEstimate = Callable[[MemoryNeed], None]
Model = str | Path | ModelPackage


class Engine:
    """Runs model packages on volumes; keeps the networks it has loaded.

    Args:
        device: ``auto`` (a CUDA device or Apple's where torch has one, else the CPU), or a torch device's name.
        backend: of the selective scan: ``auto``, or a name from `selective_scan.available_backends`.
        memory_limit: bytes to stay under, on the host and on the device alike; None takes what is free.
        precision: ``float32``, or ``bfloat16`` for the convolutions outside of Mamba layers on a CPU that computes in
            it: faster and with less memory, and the result is no longer exact.

    Raises:
        BackendError: if the device, the backend or the precision cannot be used on this machine, or the process was
            forked from one in which an engine has run.

    Each task has a method; all of them go through `run`, where the arguments that they share are described. They raise
    VolumeError for a volume that does not suit, ModelError for a package that does not, MemoryPlanError where the run
    does not fit, and Cancelled.
    """

    def __init__(
        self,
        device: str = "auto",
        backend: str = "auto",
        memory_limit: int | None = None,
        precision: str = "float32",
    ):
        refuse_after_fork()
        self.device = resolve_device(device)
        self.backend = backend
        self.memory_limit = memory_limit
        self.precision = precision
        self._networks: dict[tuple[str, NetworkDescription, str], nn.Module] = {}
        resolve_backend(backend, self.device)
        _check_precision(precision, self.device)

    def segment(
        self,
        volume: Volume | Sequence[Volume],
        model: Model,
        mirror: bool = False,
        step: float = 0.5,
        probabilities: bool = False,
        uncertainty: bool = False,
        pad_small: bool = False,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
        on_estimate: OnEstimate | None = None,
    ) -> SegmentationResult:
        """Return the labels of a volume, on its own grid; see `run`.

        Args:
            mirror: average over the flips that the model allows: eight times the work for three axes.
            step: distance of neighbouring tiles, in patches, 0.01 <= step <= 1.
            probabilities, uncertainty: return these volumes too.
            pad_small: run also where more than half of the patch would be padding.
        """
        return self.run(
            "segmentation",
            volume,
            model,
            on_progress,
            is_cancelled,
            on_estimate,
            mirror=mirror,
            step=step,
            probabilities=probabilities,
            uncertainty=uncertainty,
            pad_small=pad_small,
        )

    def detect_landmarks(
        self,
        volume: Volume | Sequence[Volume],
        model: Model,
        step: float = 0.5,
        pad_small: bool = False,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
        on_estimate: OnEstimate | None = None,
    ) -> LandmarksResult:
        """Return the model's landmarks in a volume, in LPS mm, each with a confidence; see `segment` and `run`."""
        return self.run(
            "landmarks", volume, model, on_progress, is_cancelled, on_estimate, step=step, pad_small=pad_small
        )

    def classify(
        self,
        volume: Volume | Sequence[Volume],
        model: Model,
        explain: str | None = None,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
        on_estimate: OnEstimate | None = None,
    ) -> ClassificationResult:
        """Return calibrated probabilities for each of the model's questions; see `run`.

        The volume is cropped or padded about its center to the model's size.

        Args:
            explain: one of the questions: which regions speak for its answer, by 343 more runs of the network, each
                with another part of the volume hidden.
        """
        return self.run("classification", volume, model, on_progress, is_cancelled, on_estimate, explain=explain)

    def explain(
        self,
        volume: Volume | Sequence[Volume],
        model: Model,
        target: str | None = None,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
        on_estimate: OnEstimate | None = None,
    ) -> ClassificationResult:
        """Return what `classify` does, with an explanation: of one question's answer, by default the first's."""
        package = find_package(model)
        package.require_task("classification")
        target = target or package.manifest.targets[0].name
        return self.classify(volume, package, target, on_progress, is_cancelled, on_estimate)

    def run(
        self,
        task: str,
        volume: Volume | Sequence[Volume],
        model: Model,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
        on_estimate: OnEstimate | None = None,
        **options: Any,
    ) -> Any:
        """Run a task by its name and return its result.

        Args:
            task: name of one of `inference.tasks.TASKS`.
            volume: one with all channels, or one for each channel in the model's order.
            model: a name from the catalogue, the path of a package, or an opened one.
            on_progress, is_cancelled: see `Monitor`.
            on_estimate: called before the run starts with the memory that it needs, in the way in which it will run.
            options: of the task.

        Raises:
            TypeError: if the task has no such option.
        """
        refuse_after_fork()
        run = self._run(task, model, volume, options, Monitor(on_progress, is_cancelled))
        if on_estimate is not None:
            on_estimate(run.need())
        note_use()
        return run.execute()

    def estimate_memory(self, volume: Volume | Sequence[Volume], model: Model, **options: Any) -> MemoryNeed:
        """Return about what a run of the model's task would need of memory, beside the volume; it runs nothing.

        It is the need of the way that would run: where less memory can be used, that of a smaller patch.

        Args:
            options: of the task, such as ``probabilities``.

        Raises:
            MemoryPlanError: if no way fits.
        """
        package = find_package(model)
        task = task_named(package.manifest.task)
        return self._run(task.name, package, volume, task.supported(pad_small=True) | options).need()

    def network(self, package: ModelPackage, device: torch.device) -> nn.Module:
        """Return a package's network on a device, loaded once; for a CPU in the form of `folding.fold`.

        Raises:
            ModelError: as in `ModelPackage.load`.
        """
        key = _network_key(package, device)
        if key not in self._networks:
            network = package.load()
            if device.type == "cpu":
                network = fold(network, torch.bfloat16 if self.precision == "bfloat16" else None)
            self._networks[key] = network.to(device)
        return self._networks[key]

    def _is_loaded(self, package: ModelPackage, device: torch.device) -> bool:
        return _network_key(package, device) in self._networks

    def _run(
        self,
        task: str,
        model: Model,
        volume: Volume | Sequence[Volume],
        options: dict[str, Any],
        monitor: Monitor | None = None,
    ) -> Run:
        kind = task_named(task)
        complete = kind.complete(options)
        resources = Resources(
            self.device, self.backend, self.precision, self.memory_limit, self.network, self._is_loaded
        )
        volumes = [volume] if isinstance(volume, Volume) else list(volume)
        return Run(resources, kind, find_package(model), volumes, complete, monitor)


def _network_key(package: ModelPackage, device: torch.device) -> tuple[str, NetworkDescription, str]:
    return package.sha256, package.manifest.network, str(device)


def _check_precision(precision: str, device: torch.device) -> None:
    if precision not in PRECISIONS:
        raise BackendError(f"Unknown precision '{precision}': choose {' or '.join(PRECISIONS)}.")
    reason = bfloat16_unavailable_reason(device)
    if precision == "bfloat16" and reason is not None:
        raise BackendError(f"The precision bfloat16 cannot be used ({reason}): choose --precision float32.")
