"""One run of a model on a volume: what is checked first, how memory is stepped down, where the result comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from NNMambaLib import __version__
from NNMambaLib.errors import VolumeError
from NNMambaLib.inference import memory_plan
from NNMambaLib.inference.back_to_grid import label_type
from NNMambaLib.inference.preprocessing import Prepared, check_channels, model_grid, needs_resampling, prepare
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.networks.scan.selective_scan import resolve_backend
from NNMambaLib.progress import Monitor
from NNMambaLib.results import Provenance
from NNMambaLib.runtime.allocation import memory_kept
from NNMambaLib.volumes.checks import check_voxels, stack_channels
from NNMambaLib.volumes.volume import Volume

# A patch that is emptier than this is not what a model was trained on.
_LEAST_COVERED = 0.5


@dataclass(frozen=True)
class Machine:
    """What a job runs on: device, scan backend, precision of convolutions, bytes to stay under (None: what is free).

    `network` is how networks are had.
    """

    device: torch.device
    backend: str
    precision: str
    memory_limit: int | None
    network: Callable[[ModelPackage, torch.device], nn.Module]


class Job:
    """One run: checks first, then the ways of running it that fit the memory, best first.

    Raises:
        ModelError: if the package is for another task.
        VolumeError: if there is no volume, or one that the model cannot take.
    """

    def __init__(
        self,
        machine: Machine,
        task: str,
        package: ModelPackage,
        volumes: Sequence[Volume],
        pad_small: bool,
        monitor: Monitor,
        on_estimate: Callable[[memory_plan.MemoryNeed], None] | None = None,
    ):
        self._machine = machine
        self._on_estimate = on_estimate or (lambda need: None)
        self.monitor = monitor
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.package = package
        self.manifest = package.manifest
        package.require_task(task)
        if not volumes:
            raise VolumeError("No volume was given: give one for each of the model's channels.")
        self.volume, notices = stack_channels(volumes)
        self.notices = list(notices)
        check_voxels(self.volume)
        specification = self.manifest.input
        check_channels(self.volume, specification)
        self.patch = tuple(reversed(specification.patch))
        self.grid = model_grid(self.volume.grid, specification)
        self.resampled = needs_resampling(self.volume.grid, specification)
        self._check_cover(pad_small)
        self.device = machine.device

    @property
    def sizes(self) -> str:
        sizes = ("x".join(str(size) for size in reversed(shape)) for shape in (self.grid.shape, self.patch))
        return "{} voxels where the model's patch has {}".format(*sizes)

    def need(
        self, probabilities: bool = False, uncertainty: bool = False, explanation: bool = False
    ) -> memory_plan.NeedOfPatch:
        """Return what the job needs of memory, as a function of the patch and the device."""
        network = self.manifest.network
        sizes = memory_plan.JobSizes(network, self.volume.grid.shape, self.grid.shape, self.resampled)
        if self.manifest.task == "classification":
            return partial(memory_plan.classifier_need, sizes, explanation=explanation)
        if self.manifest.task == "landmarks":
            return partial(memory_plan.sliding_window_need, sizes, kept_bytes=4 * network.out_channels)
        labels = np.dtype(label_type(network.out_channels)).itemsize
        extras = (2 * network.out_channels if probabilities else 0) + (4 if uncertainty else 0)
        return partial(memory_plan.sliding_window_need, sizes, label_bytes=labels, returned_bytes=labels + extras)

    def run(self, run: Callable[[memory_plan.Attempt, Prepared, nn.Module], Any], need: memory_plan.NeedOfPatch) -> Any:
        """Announce what the job needs, try the ways that fit, and return what `run` returns."""
        self._on_estimate(need(self.patch, self._machine.device))
        devices = [self._machine.device]
        if self._machine.device.type != "cpu":
            devices.append(torch.device("cpu"))
        # A classifier sees its whole patch or nothing.
        reduce_patch = self.manifest.task != "classification"
        ways = memory_plan.attempts(devices, self.patch, need, self._machine.memory_limit, reduce_patch)
        ran_out, prepared = False, None
        for attempt in ways:
            try:
                self.monitor.stage("Loading the model")
                network = self._machine.network(self.package, attempt.device)
                set_scan_backend(network, self._machine.backend)
                if prepared is None:
                    self.monitor.stage("Preparing the volume")
                    prepared = prepare(self.volume, self.manifest.input)
                with memory_kept():
                    result = run(attempt, prepared, network)
            except Exception as error:
                if not memory_plan.is_out_of_memory(error):
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
        if self._machine.precision != "float32":
            options = options | {"precision": self._machine.precision}
        return Provenance(
            model=self.manifest.name,
            model_version=self.manifest.version,
            weights_sha256=self.package.sha256,
            engine_version=__version__,
            device=str(self.device),
            scan_backend=resolve_backend(self._machine.backend, self.device),
            options=options,
            started=self.started,
            seconds={stage: round(seconds, 3) for stage, seconds in self.monitor.finish().items()},
            notices=tuple(self.notices),
            licence=self.manifest.licence or "",
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
