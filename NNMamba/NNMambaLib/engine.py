"""The engine: volumes and models in, results out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from NNMambaLib.errors import BackendError, ModelError, VolumeError
from NNMambaLib.inference import classification, landmarks, memory_plan, occlusion, segmentation
from NNMambaLib.inference.preprocessing import Prepared
from NNMambaLib.inference.run import Job, Machine
from NNMambaLib.inference.sliding_window import Tiling
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.networks.convolution import bfloat16_unavailable_reason
from NNMambaLib.networks.description import PRECISIONS, NetworkDescription
from NNMambaLib.networks.folding.fold import fold
from NNMambaLib.networks.scan.selective_scan import resolve_backend
from NNMambaLib.progress import Monitor, Progress
from NNMambaLib.results import ClassificationResult, LandmarksResult, SegmentationResult
from NNMambaLib.runtime.devices import resolve_device
from NNMambaLib.volumes.resampling import resample
from NNMambaLib.volumes.volume import Grid, Volume

OnProgress = Callable[[Progress], None]
IsCancelled = Callable[[], bool]
OnEstimate = Callable[[memory_plan.MemoryNeed], None]
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
        BackendError: if the device, the backend or the precision cannot be used on this machine.

    All tasks take `model` (a name from the catalogue, the path of a package, or an opened one), `on_progress` and
    `is_cancelled` (see `Monitor`), and `on_estimate`, called with the memory that the job needs before it starts. They
    raise VolumeError for a volume that does not suit, ModelError for a package that does not, MemoryPlanError where
    the job does not fit, and Cancelled.
    """

    def __init__(
        self,
        device: str = "auto",
        backend: str = "auto",
        memory_limit: int | None = None,
        precision: str = "float32",
    ):
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
        """Return the labels of a volume, on its own grid.

        Args:
            volume: one with all channels, or one for each channel in the model's order.
            mirror: average over the flips that the model allows: eight times the work for three axes.
            step: distance of neighbouring tiles, in patches, 0 < step <= 1.
            probabilities, entropy: return these volumes too.
            pad_small: run also where more than half of the patch would be padding.
        """
        _check_step(step)
        job = self._job("segmentation", model, volume, pad_small, on_progress, is_cancelled, on_estimate)
        mirror_axes = job.manifest.input.mirror_axes if mirror else ()
        if mirror and not mirror_axes:
            raise ModelError(f"The model {job.manifest.name} does not allow mirroring: run it without.")
        outputs = job.manifest.network.out_channels

        def run(
            attempt: memory_plan.Attempt, prepared: Prepared, network: nn.Module
        ) -> segmentation.SegmentationArrays:
            tiling = Tiling.plan(prepared.grid.shape, attempt.patch, step)
            return segmentation.segment(
                prepared, job.volume.grid, network, attempt.device, tiling, outputs, mirror_axes, probabilities,
                uncertainty, job.monitor,
            )  # fmt: skip

        arrays = job.run(run, job.need(probabilities, uncertainty))
        options = {"mirror": mirror, "step": step, "pad_small": pad_small}
        wrap = partial(Volume, matrix=job.volume.matrix, name=job.volume.name)
        return SegmentationResult(
            labels=wrap(arrays.labels[None]),
            label_definitions=job.manifest.labels,
            volumes_ml=_volumes_ml(arrays.labels, job.volume.grid, job.manifest.labels),
            provenance=job.provenance(options),
            probabilities=None if arrays.probabilities is None else wrap(arrays.probabilities),
            uncertainty=None if arrays.uncertainty is None else wrap(arrays.uncertainty[None]),
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
        """Return the model's landmarks in a volume, in LPS mm, each with a confidence; see `segment`."""
        _check_step(step)
        job = self._job("landmarks", model, volume, pad_small, on_progress, is_cancelled, on_estimate)
        manifest = job.manifest

        def run(attempt: memory_plan.Attempt, prepared: Prepared, network: nn.Module):
            tiling = Tiling.plan(prepared.grid.shape, attempt.patch, step)
            return landmarks.detect(
                prepared,
                job.volume.grid,
                network,
                attempt.device,
                tiling,
                manifest.landmarks,
                manifest.heatmap,
                job.monitor,
            )

        found = job.run(run, job.need())
        return LandmarksResult(found, job.provenance({"step": step, "pad_small": pad_small}))

    def classify(
        self,
        volume: Volume | Sequence[Volume],
        model: Model,
        explain: str | None = None,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
        on_estimate: OnEstimate | None = None,
    ) -> ClassificationResult:
        """Return calibrated probabilities for each of the model's questions; see `segment`.

        The volume is cropped or padded about its centre to the model's size.

        Args:
            explain: one of the questions: which regions speak for its answer, by 343 more runs of the network, each
                with another part of the volume hidden.
        """
        job = self._job("classification", model, volume, True, on_progress, is_cancelled, on_estimate)
        questions = [target.name for target in job.manifest.targets]
        if explain is not None and explain not in questions:
            raise ModelError(
                f"The model {job.manifest.name} does not answer '{explain}': choose one of its questions "
                f"({', '.join(questions)})."
            )
        if any(size > width for size, width in zip(job.grid.shape, job.patch, strict=True)):
            job.notices.append(f"cropped about its centre: {job.sizes}")

        def run(attempt: memory_plan.Attempt, prepared: Prepared, network: nn.Module):
            where = network, attempt.device, attempt.patch, job.manifest.targets
            predictions = classification.classify(prepared.array, *where, job.monitor)
            if explain is None:
                return predictions, None
            prediction = predictions[questions.index(explain)]
            explanation = occlusion.explain(prepared, *where, prediction, job.monitor)
            job.monitor.stage("Back to the input's grid", 1)
            on_input = resample(explanation.volume, job.volume.grid, outside=0.0)
            return predictions, replace(
                explanation, volume=Volume(on_input.array, job.volume.matrix, f"{job.volume.name} explanation")
            )

        predictions, explanation = job.run(run, job.need(explanation=explain is not None))
        options = {} if explain is None else {"explain": explain}
        return ClassificationResult(predictions, job.provenance(options), explanation=explanation)

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

    def run(self, task: str, volume: Volume | Sequence[Volume], model: Model, **options) -> Any:
        """Run a task by its name: `segment`, `detect_landmarks` or `classify`, with their options."""
        tasks = {"segmentation": self.segment, "landmarks": self.detect_landmarks, "classification": self.classify}
        return tasks[task](volume, model, **options)

    def estimate_memory(
        self, volume: Volume | Sequence[Volume], model: Model, probabilities: bool = False, uncertainty: bool = False
    ) -> memory_plan.MemoryNeed:
        """Return about what a job would need of memory, beside the volume; it runs nothing."""
        package = find_package(model)
        job = self._job(package.manifest.task, package, volume, True)
        return job.need(probabilities, uncertainty)(job.patch, self.device)

    def _job(
        self,
        task: str,
        model: Model,
        volume: Volume | Sequence[Volume],
        pad_small: bool,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
        on_estimate: OnEstimate | None = None,
    ) -> Job:
        volumes = [volume] if isinstance(volume, Volume) else list(volume)
        machine = Machine(self.device, self.backend, self.precision, self.memory_limit, self.network)
        return Job(
            machine, task, find_package(model), volumes, pad_small, Monitor(on_progress, is_cancelled), on_estimate
        )

    def network(self, package: ModelPackage, device: torch.device) -> nn.Module:
        """Return a package's network on a device, loaded once; for a CPU in the form of `folding.fold`.

        Raises:
            ModelError: as in `ModelPackage.load`.
        """
        key = package.sha256, package.manifest.network, str(device)
        if key not in self._networks:
            network = package.load()
            if device.type == "cpu":
                network = fold(network, torch.bfloat16 if self.precision == "bfloat16" else None)
            self._networks[key] = network.to(device)
        return self._networks[key]


def _check_step(step: float) -> None:
    if not 0 < step <= 1:
        raise VolumeError(f"The tiles' step is {step} and must be more than 0 and at most 1: 0.5 is usual.")


def _check_precision(precision: str, device: torch.device) -> None:
    if precision not in PRECISIONS:
        raise BackendError(f"Unknown precision '{precision}': choose {' or '.join(PRECISIONS)}.")
    reason = bfloat16_unavailable_reason(device)
    if precision == "bfloat16" and reason is not None:
        raise BackendError(f"The precision bfloat16 cannot be used ({reason}): choose --precision float32.")


def _volumes_ml(labels: np.ndarray, grid: Grid, definitions) -> dict[str, float]:
    counts = np.zeros(len(definitions) + 1, np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    return {label.name: float(counts[label.value] * grid.voxel_volume / 1000) for label in definitions}
