"""One run of a model on a volume: checked first, then tried in the ways that fit the memory, best first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn

from NNMambaLib import __version__
from NNMambaLib.errors import VolumeError
from NNMambaLib.inference import memory_plan
from NNMambaLib.inference.preprocessing import check_channels, place_volume, prepare
from NNMambaLib.inference.task import RunContext, Task
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.networks.scan.selective_scan import resolve_backend
from NNMambaLib.progress import Monitor
from NNMambaLib.results import Provenance
from NNMambaLib.runtime.allocation import memory_kept
from NNMambaLib.volumes.checks import check_voxels, stack_channels
from NNMambaLib.volumes.volume import Shape, Volume

# A patch that is emptier than this is not what a model was trained on.
_LEAST_COVERED = 0.5


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Attributes:
        device: to run on.
        backend: of the selective scan.
        precision: of the convolutions.
        memory_limit: bytes to stay under, on the host and on the device alike; None takes what is free.
        network: returns a package's network on a device.
        is_loaded: tells whether that is in memory already.
    """

    device: torch.device
    backend: str
    precision: str
    memory_limit: int | None
    network: Callable[[ModelPackage, torch.device], nn.Module]
    is_loaded: Callable[[ModelPackage, torch.device], bool]


class Run:
    """One run of a task.

    Args:
        options: of the task, all of them (see `Task.complete`).

    Raises:
        ModelError: if the package is for another task, or does not allow an option.
        VolumeError: if there is no volume, or one that the model cannot take.
    """

    def __init__(
        self,
        resources: Resources,
        task: Task[Any],
        package: ModelPackage,
        volumes: Sequence[Volume],
        options: Mapping[str, Any],
        monitor: Monitor | None = None,
    ):
        self._resources, self._task, self._package, self._options = resources, task, package, options
        self._monitor = monitor or Monitor()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = self._manifest = package.manifest
        package.require_task(task.name)
        if not volumes:
            raise VolumeError("No volume was given: give one for each of the model's channels.")
        self._volume, notices = stack_channels(volumes)
        self._notices = list(notices)
        check_voxels(self._volume)
        check_channels(self._volume, manifest.input)
        task.check(manifest, options)
        x, y, z = manifest.input.patch
        self._patch: Shape = (z, y, x)
        self._placement = place_volume(self._volume, manifest.input)
        self._check_cover()
        self._device = resources.device

    def need(self) -> memory_plan.MemoryNeed:
        """Return what the first way of running that fits needs of memory.

        Raises:
            MemoryPlanError: if no way fits.
        """
        return next(self._ways()).need

    def execute(self) -> Any:
        """Try the ways of running that fit the memory; return the task's result.

        Raises:
            MemoryPlanError: if no way fits.
            Cancelled: if the monitor's caller asked for it.
        """
        ran_out, prepared = False, None
        for attempt in self._ways():
            try:
                self._monitor.stage("Loading the model")
                network = self._resources.network(self._package, attempt.device)
                set_scan_backend(network, self._resources.backend)
                if prepared is None:
                    self._monitor.stage("Preparing the volume")
                    prepared = prepare(self._volume, self._manifest.input, self._placement)
                context = RunContext(
                    self._manifest, self._volume, network, attempt.device, attempt.patch, self._options, self._monitor
                )
                with memory_kept():
                    found = self._task.run(prepared, context)
            except Exception as error:
                if not memory_plan.is_out_of_memory(error):
                    raise
                # The error itself is not kept: its traceback would hold all that the failed attempt had allocated.
                ran_out = True
                continue
            self._device = attempt.device
            self._notices += attempt.notices
            if ran_out:
                self._notices.append("memory ran out at first, and the job was run again with less")
            return self._task.result(found, context, self._provenance())
        raise AssertionError("attempts() ends with an error")

    def _ways(self) -> Iterator[memory_plan.Attempt]:
        devices = [self._resources.device]
        if self._resources.device.type != "cpu":
            devices.append(torch.device("cpu"))
        return memory_plan.attempts(
            devices, self._patch, self._need, self._resources.memory_limit, not self._task.whole_volume
        )

    def _need(self, patch: Shape, device: torch.device) -> memory_plan.MemoryNeed:
        placement = self._placement
        sizes = memory_plan.RunSizes(
            self._manifest.network,
            self._volume.grid.shape,
            placement.grid.shape,
            placement.resampled,
            resolve_backend(self._resources.backend, device),
            self._resources.is_loaded(self._package, device),
        )
        return self._task.need(sizes, patch, device, self._options)

    def _provenance(self) -> Provenance:
        options = self._task.recorded(self._options)
        if self._resources.precision != "float32":
            options["precision"] = self._resources.precision
        return Provenance(
            model=self._manifest.name,
            model_version=self._manifest.version,
            weights_sha256=self._package.sha256,
            engine_version=__version__,
            device=str(self._device),
            scan_backend=resolve_backend(self._resources.backend, self._device),
            options=options,
            started=self._started,
            seconds={stage: round(seconds, 3) for stage, seconds in self._monitor.finish().items()},
            notices=tuple(self._notices),
            licence=self._manifest.licence or "",
        )

    def _check_cover(self) -> None:
        """Refuse a volume that fills too little of a patch, unless padding is allowed; note padding and cropping."""
        shape = self._placement.grid.shape
        # Of a whole volume nothing lies beyond the patch; tiles cover what does.
        whole = self._task.whole_volume
        fitted = tuple(width if whole else max(size, width) for size, width in zip(shape, self._patch, strict=True))
        voxels, width, used = ("x".join(map(str, reversed(sizes))) for sizes in (shape, self._patch, fitted))
        covered = math.prod(min(1, size / width) for size, width in zip(shape, self._patch, strict=True))
        if covered < _LEAST_COVERED and not self._options.get("pad_small", True):
            raise VolumeError(
                f"{self._volume.name} is too small for the model {self._manifest.name}: {voxels} voxels where the "
                f"model's patch has {width}, so that {1 - covered:.0%} of it would be padding; give a volume that "
                "covers more, or allow padding (--pad-small)."
            )
        done = ["padded"] if covered < 1 else []
        if any(size > kept for size, kept in zip(shape, fitted, strict=True)):
            done.append("cropped about its center")
        if done:
            self._notices.append(f"{' and '.join(done)} from {voxels} to {used} voxels: the model's patch has {width}")
