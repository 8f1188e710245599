"""``nnmamba train``: from a folder of cases to a model package."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from NNMambaLib.models.manifest import InputSpecification, Manifest
from NNMambaLib.models.package import write_package
from NNMambaLib.progress import Progress
from NNMambaLib.runtime.devices import training_device
from NNMambaLib.training.configuration import Configuration
from NNMambaLib.training.data.prepared import open_case, prepare_case
from NNMambaLib.training.data.samples import Samples
from NNMambaLib.training.data.subjects import Split, split_by_subject
from NNMambaLib.training.data.survey import survey_cases
from NNMambaLib.training.loop.averaging import recalibrate_batch_norm
from NNMambaLib.training.loop.curves import plot_curves, write_curves
from NNMambaLib.training.loop.distributed import from_first, process_count, process_group, rank, wait_for_all
from NNMambaLib.training.loop.trainer import CurvePoint, Trainer
from NNMambaLib.training.packaging import check_manifest, make_manifest, model_card
from NNMambaLib.training.plan import input_specification, resolve
from NNMambaLib.training.run_folder import RunFolder
from NNMambaLib.training.tasks.classification import ClassificationTask
from NNMambaLib.training.tasks.landmarks import LandmarksTask
from NNMambaLib.training.tasks.segmentation import SegmentationTask
from NNMambaLib.training.tasks.task import Task

TASKS = {task.name: task for task in (SegmentationTask, LandmarksTask, ClassificationTask)}
# Batches that BatchNorm's statistics are taken over in the end.
_RECALIBRATION_BATCHES = 16

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Outcome:
    """Files that were written, the model package first; figures of the validation; notices on how the run went."""

    outputs: tuple[Path, ...]
    metrics: dict[str, float]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """What the data made of the configuration."""

    configuration: Configuration
    specification: InputSpecification
    split: Split


@dataclass
class _Training:
    """One call of `train_folder`."""

    task: Task
    run: RunFolder
    given: Configuration
    device: torch.device
    on_progress: OnProgress
    notices: list[str] = field(default_factory=list)


def train_folder(
    task: str,
    data: str | Path,
    output: str | Path,
    configuration: Configuration,
    overwrite: bool = False,
    device: str = "auto",
    backend: str = "auto",
    on_progress: OnProgress = lambda progress: None,
) -> Outcome:
    """Train on a folder of cases and write a model package, or carry on with what a killed run left.

    Args:
        task: ``segmentation``, ``landmarks`` or ``classification``.
        data: the folder, see the readers in `data`.
        output: the folder to write to.
        overwrite: remove an earlier training from it.
        device, backend: see `Trainer`.

    Raises:
        VolumeError: if the data cannot be used; nothing was trained.
        TrainingError: if the configuration cannot be used, or the training does not converge.
        OutputError: if the folder holds something else, or cannot be written to.
    """
    target = training_device(device)
    with process_group(target):
        training = _Training(TASKS[task](Path(data)), RunFolder(output), configuration, target, on_progress)
        plan = from_first(partial(_begin, training, overwrite))
        if plan is None:
            return Outcome(training.run.outputs, {}, (f"{training.run.path} was trained to its end before",))
        trainer = _make_trainer(training, plan, str(target), backend)
        _train(training, plan, trainer)
        metrics = _finish(training, plan, trainer) if rank() == 0 else {}
        wait_for_all()
        return Outcome(training.run.outputs, metrics, tuple(training.notices))


def _begin(training: _Training, overwrite: bool) -> _Plan | None:
    """Check everything and prepare the cases; None where the run is finished."""
    task, run = training.task, training.run
    run.check(task.name, training.given, overwrite)
    if run.finished:
        return None
    stage = _stages(training.on_progress)
    survey = survey_cases(task.cases, task.check, stage("Checking the data", len(task.cases)))
    configuration = resolve(training.given, task.name, survey)
    specification = input_specification(configuration, task.channel_names(survey.channels), survey)
    split = split_by_subject(task.cases, configuration.validation_fraction, configuration.seed, task.needed())
    plan = _Plan(configuration, specification, split)
    # What the package could not hold must not be found after the training.
    check_manifest(_manifest(training, plan, {}, []))
    run.settle(task.name, training.given, configuration, split)
    after_case = stage("Preparing the data", len(task.cases))
    for case in task.cases:
        prepare_case(case, specification, task.reference, run.prepared)
        after_case()
    return plan


def _manifest(training: _Training, plan: _Plan, metrics: dict[str, float], scores: list[Any]) -> Manifest:
    task, specification = training.task, plan.specification
    network = task.objective(plan.configuration, len(specification.channels)).network
    name, sections = training.run.path.resolve().name, task.sections(scores)
    return make_manifest(name, task.name, network, specification, plan.configuration, plan.split, metrics, sections)


def _make_trainer(training: _Training, plan: _Plan, device: str, backend: str) -> Trainer:
    objective = training.task.objective(plan.configuration, len(plan.specification.channels))
    if not training.run.checkpoint.is_file():
        return Trainer(objective, plan.configuration, device, backend)
    trainer = Trainer.resume(objective, training.run.checkpoint, device=device, backend=backend)
    training.notices.append(f"carried on from step {trainer.step}")
    return trainer


def _samples(training: _Training, plan: _Plan, first: int, length: int) -> Samples:
    draw = training.task.draw(plan.configuration)
    return Samples(training.run.prepared, plan.split.training, draw, plan.configuration.seed, first, length)


def _train(training: _Training, plan: _Plan, trainer: Trainer) -> None:
    run, steps, began, first = training.run, plan.configuration.steps, time.perf_counter(), trainer.step

    def show(step: int) -> None:
        if rank() == 0:
            left = (time.perf_counter() - began) / (step - first) * (steps - step)
            training.on_progress(Progress("Training", step, steps, left))

    def report(point: CurvePoint) -> None:
        write_curves(trainer.history, run.curves_table)
        plot_curves(trainer.history, run.curves_picture)

    def validate(network: nn.Module) -> dict[str, float]:
        return training.task.metrics(_validate(training, plan, network))

    trainer.run(partial(_samples, training, plan), run.checkpoint, report, validate, show)


def _validate(training: _Training, plan: _Plan, network: nn.Module, picture: Path | None = None) -> list[Any]:
    """Return the scores of the validation cases, and write a picture of the first."""
    scores, task, patch = [], training.task, plan.configuration.patch[::-1]
    after_case = _stages(training.on_progress)("Validating", len(plan.split.validation))
    for name in plan.split.validation:
        case = open_case(training.run.prepared, name)
        prediction = task.predict(network, training.device, case, patch)
        scores.append(task.score(case, prediction))
        if picture is not None and len(scores) == 1:
            task.picture(case, prediction, picture)
        after_case()
    return scores


def _finish(training: _Training, plan: _Plan, trainer: Trainer) -> dict[str, float]:
    """Recalibrate, validate for the last time, draw, and write the package; return the figures."""
    run, task, configuration = training.run, training.task, plan.configuration
    network = trainer.result()
    # Numbers past the last training sample, so that the statistics come from unseen ones.
    drawn = configuration.steps * configuration.batch_size * process_count()
    samples = _samples(training, plan, drawn, _RECALIBRATION_BATCHES * configuration.batch_size)
    recalibrate_batch_norm(
        network, DataLoader(samples, batch_size=configuration.batch_size, num_workers=configuration.workers)
    )
    scores = _validate(training, plan, network, run.validation_picture)
    metrics = task.metrics(scores)
    write_curves(trainer.history, run.curves_table)
    plot_curves(trainer.history, run.curves_picture)
    if not scores:
        training.notices.append("there was no validation: its figures and picture are missing")
    manifest = _manifest(training, plan, metrics, scores)
    write_package(run.model, manifest, network, card=model_card(manifest))
    run.remove_prepared()
    return metrics


def _stages(on_progress: OnProgress) -> Callable[[str, int], Callable[[], None]]:
    """Return a function that begins a stage of so many steps, and returns what is to be called after each of them."""

    def stage(name: str, total: int) -> Callable[[], None]:
        done, began = 0, time.perf_counter()
        on_progress(Progress(name, 0, total, None))

        def after_step() -> None:
            nonlocal done
            done += 1
            on_progress(Progress(name, done, total, (time.perf_counter() - began) / done * (total - done)))

        return after_step

    return stage
