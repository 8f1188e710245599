"""``nnmamba train``: from a folder of cases to a model package."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.file_names import check_name, check_names_within
from NNMambaLib.files import files_together
from NNMambaLib.inference.tasks import task_named
from NNMambaLib.models.manifest import Manifest
from NNMambaLib.models.package import write_package
from NNMambaLib.networks.variants import variant_for
from NNMambaLib.runtime.devices import training_device
from NNMambaLib.runtime.forks import note_use, refuse_after_fork
from NNMambaLib.training.configuration import Configuration
from NNMambaLib.training.data.prepared import open_case
from NNMambaLib.training.data.samples import Samples
from NNMambaLib.training.loop.averaging import recalibrate_batch_norm
from NNMambaLib.training.loop.curves import plot_curves, write_curves
from NNMambaLib.training.loop.distributed import from_first, process_count, process_group, rank, wait_for_all
from NNMambaLib.training.loop.trainer import CurvePoint, Trainer, check_means
from NNMambaLib.training.packaging import check_manifest, make_manifest, model_card
from NNMambaLib.training.plan import Plan
from NNMambaLib.training.planning import make_plan, survey_task
from NNMambaLib.training.preparation import prepare_run
from NNMambaLib.training.run_folder import RunFolder
from NNMambaLib.training.stage import OnNotice, OnProgress, Stage
from NNMambaLib.training.step_time import seconds_a_step
from NNMambaLib.training.tasks.classification import ClassificationTask
from NNMambaLib.training.tasks.landmarks import LandmarksTask
from NNMambaLib.training.tasks.segmentation import SegmentationTask
from NNMambaLib.training.tasks.task import Task

TASKS: dict[str, Callable[[Path], Task]] = {
    task.name: task for task in (SegmentationTask, LandmarksTask, ClassificationTask)
}
# Batches from which BatchNorm's statistics are taken in the end.
_RECALIBRATION_BATCHES = 16
# Drawing takes a good part of a second, which a short training would spend at every point of its curves.
_SECONDS_BETWEEN_PICTURES = 10
# Seconds from which a training is worth a warning.
_LONG = 24 * 3600
_LONG_ELSEWHERE = "the training takes more than a day here: set a smaller base_width or patch, or fewer steps"
_LONG_ON_CPU = (
    "the training takes more than a day here: the defaults are for a GPU, so on a CPU set base_width to 8 or 16, patch "
    "to 64 voxels an axis or fewer, and steps to some thousands, or take a GPU"
)


@dataclass(frozen=True)
class Outcome:
    """The files that were written, the model package first; the validation's metrics; notices on how the run went."""

    outputs: tuple[Path, ...]
    metrics: dict[str, float]
    notices: tuple[str, ...] = ()


def train_folder(
    task: str,
    data: str | Path,
    output: str | Path,
    configuration: Configuration,
    overwrite: bool = False,
    device: str = "auto",
    backend: str = "auto",
    on_progress: OnProgress = lambda progress: None,
    on_notice: OnNotice = lambda notice: None,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> Outcome:
    """Train on a folder of cases and write a model package; a run that was killed is resumed.

    Args:
        task: ``segmentation``, ``landmarks`` or ``classification``.
        data: the folder, see the readers in `data`.
        output: the folder to write to.
        overwrite: remove an earlier training from it.
        device, backend: see `Trainer`.
        on_progress: called at the start of each stage and after each of its steps.
        on_notice: called with each of the outcome's notices as soon as it is known, most of them before the training.
        on_plan: called with the plan before anything is written or prepared.

    Raises:
        VolumeError: if the data cannot be used; nothing was trained.
        TrainingError: if the configuration cannot be used, or the training does not converge.
        ModelError: if the network's variant is not for the task, or the model could not be packaged.
        OutputError: if the output folder holds something else, or cannot be written to.
        BackendError: if the device or the backend cannot be used here, or the process was forked from one in which an
            engine or a training has run.
    """
    check_name(output, OutputError)
    target = _checked_device(task, data, configuration, device, backend)
    notices: list[str] = []

    def notice(text: str) -> None:
        # A validation may fail in the same way again and again.
        if text not in notices:
            notices.append(text)
            on_notice(text)

    with process_group(target):
        cases, run = TASKS[task](Path(data)), RunFolder(output)
        plan = from_first(
            partial(prepare_run, cases, run, configuration, overwrite, target, on_progress, notice, on_plan)
        )
        if plan is None:
            notice(f"{run.path} was trained to its end before")
            return Outcome(run.outputs, {}, tuple(notices))
        training = _Training(cases, run, plan, target, on_progress, notice)
        trainer = training.start(backend)
        if trainer.step > 0:
            notice(f"resumed from step {trainer.step}")
        if not plan.split.validation:
            notice("there is no validation: its metrics and picture will be missing")
        training.train(trainer)
        metrics = training.finish(trainer) if rank() == 0 else {}
        wait_for_all()
        return Outcome(run.outputs, metrics, tuple(notices))


def plan_folder(
    task: str,
    data: str | Path,
    configuration: Configuration,
    device: str = "auto",
    backend: str = "auto",
    on_progress: OnProgress = lambda progress: None,
) -> tuple[Plan, float]:
    """Return the plan of a training, and the seconds that a step takes here; nothing is written.

    Args: see `train_folder`.

    Raises:
        VolumeError, TrainingError, ModelError, BackendError: as `train_folder` would.
    """
    target = _checked_device(task, data, configuration, device, backend)
    cases = TASKS[task](Path(data))
    survey, _ = survey_task(cases, on_progress)
    plan = make_plan(cases, configuration, target, survey)
    stage = Stage("Timing a step", 1, on_progress)
    seconds = seconds_a_step(plan, cases.objective(plan.configuration, survey.channels), target, backend)
    stage.step()
    if seconds * plan.configuration.steps > _LONG:
        plan = replace(plan, warnings=(*plan.warnings, _LONG_ON_CPU if target.type == "cpu" else _LONG_ELSEWHERE))
    return plan, seconds


def _checked_device(
    task: str, data: str | Path, configuration: Configuration, device: str, backend: str
) -> torch.device:
    """Return the device that trains, once all is checked that can be known before the data are read."""
    refuse_after_fork()
    note_use()
    check_names_within(data, VolumeError)
    target = training_device(device)
    check_means(configuration.precision, target, backend)
    variant_for(task_named(task).whole_volume, configuration.variant)
    return target


@dataclass(frozen=True)
class _Training:
    """The steps of a training whose cases are prepared, in their order."""

    task: Task
    run: RunFolder
    plan: Plan
    device: torch.device
    on_progress: OnProgress
    on_notice: OnNotice

    def start(self, backend: str) -> Trainer:
        """Return a new trainer, or the one that the run's checkpoint holds."""
        configuration, device = self.plan.configuration, str(self.device)
        objective = self.task.objective(configuration, len(self.plan.specification.channels))
        if self.run.checkpoint.is_file():
            return Trainer.resume(objective, self.run.checkpoint, device=device, backend=backend)
        return Trainer(objective, configuration, device, backend)

    def train(self, trainer: Trainer) -> None:
        """Train to the last step, and write the curves after each checkpoint, their picture at times."""
        on_progress = self.on_progress if rank() == 0 else lambda progress: None
        stage = Stage("Training", self.plan.configuration.steps, on_progress, done=trainer.step)
        drawn = time.monotonic()

        def report(point: CurvePoint) -> None:
            nonlocal drawn
            is_due = time.monotonic() - drawn > _SECONDS_BETWEEN_PICTURES
            self._write_curves(trainer.history, picture=is_due)
            drawn = time.monotonic() if is_due else drawn

        trainer.run(
            self._samples,
            self.run.checkpoint,
            report=report,
            validate=lambda network: self._metrics(self._validate(network)),
            after_step=lambda step: stage.step(),
        )

    def finish(self, trainer: Trainer) -> dict[str, float]:
        """Recalibrate and validate the trained network and write its package; return the metrics."""
        network = trainer.result()
        self._recalibrate(network)
        with files_together():
            scores = self._validate(network, self.run.validation_picture)
            metrics = self._metrics(scores)
            # A run that was killed after its last checkpoint may lack them.
            self._write_curves(trainer.history, picture=True)
            manifest = self._manifest(metrics, scores)
            write_package(self.run.model, manifest, network, card=model_card(manifest))
        self.run.remove_prepared()
        return metrics

    def _samples(self, first: int, length: int) -> Samples:
        """Return `length` training samples from number `first` on."""
        configuration = self.plan.configuration
        sampler = self.task.sampler(configuration)
        return Samples(self.run.prepared, self.plan.split.training, sampler, configuration.seed, first, length)

    def _recalibrate(self, network: nn.Module) -> None:
        """Take BatchNorm's statistics from samples numbered after the last one trained on, which it never saw."""
        configuration = self.plan.configuration
        size = configuration.batch_size
        samples = self._samples(configuration.steps * size * process_count(), _RECALIBRATION_BATCHES * size)
        recalibrate_batch_norm(network, DataLoader(samples, batch_size=size, num_workers=configuration.workers))

    def _validate(self, network: nn.Module, picture: Path | None = None) -> list[Any]:
        """Return the scores of the validation cases, and write a picture of the first where a path is given.

        A case whose validation fails is left out with a notice, for hours of training hang on it.
        """
        names = self.plan.split.validation
        stage, scores = Stage("Validating", len(names), self.on_progress), []
        for name in names:
            with self._noticing(f"the validation of {name} failed, and is left out"):
                case = open_case(self.run.prepared, name)
                prediction = self.task.predict(network, self.device, case, self.plan.configuration.patch_zyx)
                scores.append(self.task.score(case, prediction))
                if picture is not None and name == names[0]:
                    self.task.picture(case, prediction, picture)
            stage.step()
        return scores

    def _metrics(self, scores: list[Any]) -> dict[str, float]:
        with self._noticing("the validation could not be summed up"):
            metrics = self.task.metrics(scores)
            return {name: value for name, value in metrics.items() if math.isfinite(value)}
        return {}

    def _manifest(self, metrics: dict[str, float], scores: list[Any]) -> Manifest:
        with self._noticing("the package is without the metrics and the calibration of the validation"):
            manifest = make_manifest(self.run.name, self.task, self.plan, metrics, scores)
            check_manifest(manifest)
            return manifest
        return make_manifest(self.run.name, self.task, self.plan, {}, [])

    @contextmanager
    def _noticing(self, failure: str) -> Iterator[None]:
        """Turn an error of any kind into a notice: what fails here is worth less than the training it would end."""
        try:
            yield
        except Exception as error:
            self.on_notice(f"{failure} ({str(error).rstrip('.') or type(error).__name__})")

    def _write_curves(self, history: list[CurvePoint], picture: bool) -> None:
        with files_together():
            write_curves(history, self.run.curves_table)
            if picture:
                plot_curves(history, self.run.curves_picture)
