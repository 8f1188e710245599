"""The engine: volumes and models in, results out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from NNMambaLib import __version__
from NNMambaLib.errors import BackendError, ModelError, VolumeError
from NNMambaLib.inference import classification, landmarks, memory, segmentation
from NNMambaLib.inference.preprocessing import Prepared, check_channels, model_grid, prepare
from NNMambaLib.inference.sliding_window import Tiling
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.monitor import Monitor, Progress
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.selective_scan import resolve_backend
from NNMambaLib.networks.variants import set_scan_backend
from NNMambaLib.results import (
    ClassificationResult,
    LandmarksResult,
    Provenance,
    SegmentationResult,
)
from NNMambaLib.volume import Grid, Volume, reoriented_grid
from NNMambaLib.volume_io import check_voxels, stack_channels

OnProgress = Callable[[Progress], None]
IsCancelled = Callable[[], bool]
Model = str | Path | ModelPackage

# A patch that is emptier than this is not what a model was trained on.
_LEAST_COVERED = 0.5


class Engine:
    """Runs model packages on volumes; keeps the networks it has loaded.

    Args:
        device: ``auto`` (a CUDA device or Apple's where torch has one, else the CPU), or a torch device's name.
        backend: of the selective scan: ``auto``, or a name from `selective_scan.available_backends`.
        memory_limit: bytes to stay under, on the host and on the device alike; None takes what is free.

    Raises:
        BackendError: if the device or the backend cannot be used on this machine.

    All tasks take `model` (a name from the catalogue, the path of a package, or an opened one), `on_progress` and
    `is_cancelled` (see `Monitor`), and raise VolumeError for a volume that does not suit, ModelError for a package
    that does not, MemoryPlanError where the job does not fit, and Cancelled.
    """

    def __init__(self, device: str = "auto", backend: str = "auto", memory_limit: int | None = None):
        self.device = _device(device)
        self.backend = backend
        self.memory_limit = memory_limit
        self._networks: dict[tuple[str, NetworkDescription], nn.Module] = {}
        resolve_backend(backend, self.device)

    def segment(
        self,
        volume: Volume | Sequence[Volume],
        model: Model,
        mirror: bool = False,
        step: float = 0.5,
        probabilities: bool = False,
        entropy: bool = False,
        pad_small: bool = False,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
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
        job = _Job(self, "segmentation", model, volume, pad_small, on_progress, is_cancelled)
        mirror_axes = job.manifest.input.mirror_axes if mirror else ()
        if mirror and not mirror_axes:
            raise ModelError(f"The model {job.manifest.name} does not allow mirroring: run it without.")
        outputs = job.manifest.network.out_channels

        def run(attempt: memory.Attempt, prepared: Prepared, network: nn.Module) -> segmentation.SegmentationArrays:
            tiling = Tiling.plan(prepared.grid.shape, attempt.patch, step)
            return segmentation.segment(
                prepared, job.volume.grid, network, attempt.device, tiling, outputs, mirror_axes, probabilities,
                entropy, job.monitor,
            )  # fmt: skip

        arrays = job.run(run, job.need(probabilities, entropy))
        options = {"mirror": mirror, "step": step, "pad_small": pad_small}
        wrap = partial(Volume, matrix=job.volume.matrix, name=job.volume.name)
        return SegmentationResult(
            labels=wrap(arrays.labels[None]),
            label_definitions=job.manifest.labels,
            volumes_ml=_volumes_ml(arrays.labels, job.volume.grid, job.manifest.labels),
            provenance=job.provenance(options),
            probabilities=None if arrays.probabilities is None else wrap(arrays.probabilities),
            entropy=None if arrays.entropy is None else wrap(arrays.entropy[None]),
        )

    def detect_landmarks(
        self,
        volume: Volume | Sequence[Volume],
        model: Model,
        step: float = 0.5,
        pad_small: bool = False,
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
    ) -> LandmarksResult:
        """Return the model's landmarks in a volume, in LPS mm, each with a confidence; see `segment`."""
        _check_step(step)
        job = _Job(self, "landmarks", model, volume, pad_small, on_progress, is_cancelled)
        manifest = job.manifest

        def run(attempt: memory.Attempt, prepared: Prepared, network: nn.Module):
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
        on_progress: OnProgress | None = None,
        is_cancelled: IsCancelled | None = None,
    ) -> ClassificationResult:
        """Return calibrated probabilities for each of the model's questions; see `segment`.

        The volume is cropped or padded about its centre to the model's size.
        """
        job = _Job(self, "classification", model, volume, True, on_progress, is_cancelled)
        if any(size > width for size, width in zip(job.grid.shape, job.patch, strict=True)):
            job.notices.append(f"cropped about its centre: {job.sizes}")

        def run(attempt: memory.Attempt, prepared: Prepared, network: nn.Module):
            return classification.classify(
                prepared.array, network, attempt.device, attempt.patch, job.manifest.targets, job.monitor
            )

        return ClassificationResult(job.run(run, job.need(), whole_patch=True), job.provenance({}))

    def run(self, task: str, volume: Volume | Sequence[Volume], model: Model, **options) -> Any:
        """Run a task by its name: `segment`, `detect_landmarks` or `classify`, with their options."""
        tasks = {"segmentation": self.segment, "landmarks": self.detect_landmarks, "classification": self.classify}
        return tasks[task](volume, model, **options)

    def estimate_memory(
        self, volume: Volume | Sequence[Volume], model: Model, probabilities: bool = False, entropy: bool = False
    ) -> memory.MemoryNeed:
        """Return about what a job would need of memory, beside the volume; it runs nothing."""
        package = find_package(model)
        job = _Job(self, package.manifest.task, package, volume, True)
        return job.need(probabilities, entropy)(job.patch)

    def network(self, package: ModelPackage) -> nn.Module:
        """Return a package's network, loaded once, on the CPU or wherever it ran last.

        Raises:
            ModelError: as in `ModelPackage.load`.
        """
        key = package.sha256, package.manifest.network
        if key not in self._networks:
            self._networks[key] = package.load()
        return self._networks[key]


class _Job:
    """One run: checks first, then the ways of running it that fit the memory, best first."""

    def __init__(self, engine, task, model, volume, pad_small, on_progress=None, is_cancelled=None):
        self.engine = engine
        self.monitor = Monitor(on_progress, is_cancelled)
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.package = find_package(model)
        self.manifest = self.package.manifest
        self.package.require_task(task)
        volumes = [volume] if isinstance(volume, Volume) else list(volume)
        if not volumes:
            raise VolumeError("No volume was given: give one for each of the model's channels.")
        self.volume, notices = stack_channels(volumes)
        self.notices = list(notices)
        check_voxels(self.volume)
        specification = self.manifest.input
        check_channels(self.volume, specification)
        self.patch = tuple(reversed(specification.patch))
        self.grid = model_grid(self.volume.grid, specification)
        self.resampled = not self.grid.matches(reoriented_grid(self.volume.grid, specification.orientation))
        self._check_cover(pad_small)
        self.device = engine.device

    @property
    def sizes(self) -> str:
        sizes = ("x".join(str(size) for size in reversed(shape)) for shape in (self.grid.shape, self.patch))
        return "{} voxels where the model's patch has {}".format(*sizes)

    def need(self, probabilities: bool = False, entropy: bool = False) -> memory.NeedOfPatch:
        """Return what the job needs of memory, as a function of the patch."""
        network = self.manifest.network
        sizes = memory.JobSizes(network, self.volume.grid.shape, self.grid.shape, self.resampled)
        if self.manifest.task == "classification":
            return partial(memory.classifier_need, sizes)
        if self.manifest.task == "landmarks":
            return partial(memory.dense_need, sizes, half_volumes=0, kept_bytes=4 * network.out_channels)
        half_volumes = (network.out_channels if probabilities else 0) + (2 if entropy else 0)
        kept = 2 * network.out_channels if self.resampled else 1 + 2 * half_volumes
        return partial(memory.dense_need, sizes, half_volumes=half_volumes, kept_bytes=kept)

    def run(self, run, need: memory.NeedOfPatch, whole_patch: bool = False) -> Any:
        """Try the ways that fit; `whole_patch`: the network sees its whole patch or nothing, so it is never reduced."""
        devices = [self.engine.device]
        if self.engine.device.type != "cpu":
            devices.append(torch.device("cpu"))
        ways = memory.attempts(devices, self.patch, need, self.engine.memory_limit, reduce_patch=not whole_patch)
        ran_out, prepared = False, None
        for attempt in ways:
            try:
                self.monitor.stage("Loading the model")
                network = self.engine.network(self.package).to(attempt.device)
                set_scan_backend(network, self.engine.backend)
                if prepared is None:
                    self.monitor.stage("Preparing the volume")
                    prepared = prepare(self.volume, self.manifest.input)
                result = run(attempt, prepared, network)
            except Exception as error:
                if not memory.is_out_of_memory(error):
                    raise
                # The error itself is not kept: its traceback would hold all that the failed attempt had allocated.
                ran_out = True
                continue
            self.device = attempt.device
            self.notices += attempt.notices
            if ran_out:
                self.notices.append("memory ran out at first, and the job was run again with less")
            return result
        raise AssertionError("attempts() ends with an error")

    def provenance(self, options: dict[str, Any]) -> Provenance:
        return Provenance(
            model=self.manifest.name,
            model_version=self.manifest.version,
            weights_sha256=self.package.sha256,
            engine_version=__version__,
            device=str(self.device),
            scan_backend=resolve_backend(self.engine.backend, self.device),
            options=options,
            started=self.started,
            seconds={stage: round(seconds, 3) for stage, seconds in self.monitor.finish().items()},
            notices=tuple(self.notices),
        )

    def _check_cover(self, pad_small: bool) -> None:
        covered = math.prod(min(1, size / width) for size, width in zip(self.grid.shape, self.patch, strict=True))
        if covered >= 1:
            return
        if covered < _LEAST_COVERED and not pad_small:
            raise VolumeError(
                f"{self.volume.name} is too small for the model {self.manifest.name}: {self.sizes}, so that "
                f"{1 - covered:.0%} of it would be padding; give a volume that covers more, or allow padding "
                "(--pad-small)."
            )
        self.notices.append(f"padded: {self.sizes}")


def _check_step(step: float) -> None:
    if not 0 < step <= 1:
        raise VolumeError(f"The tiles' step is {step} and must be more than 0 and at most 1: 0.5 is usual.")


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackendError(f"The device '{name}' cannot be used ({reason}): choose --device auto or cpu.") from error
    return device


def _volumes_ml(labels: np.ndarray, grid: Grid, definitions) -> dict[str, float]:
    counts = np.zeros(len(definitions) + 1, np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    return {label.name: float(counts[label.value] * grid.voxel_volume / 1000) for label in definitions}
