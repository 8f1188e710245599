"""The preparation of a training: check the data, make the plan from them, and prepare the cases."""

from __future__ import annotations

import torch

from NNMambaLib.training.configuration import Configuration
from NNMambaLib.training.data.prepared import prepare_case
from NNMambaLib.training.data.subjects import split_by_subject
from NNMambaLib.training.data.survey import survey_cases
from NNMambaLib.training.memory import check_case_memory, check_step_memory
from NNMambaLib.training.packaging import check_manifest, make_manifest
from NNMambaLib.training.plan import Plan, input_specification, resolve
from NNMambaLib.training.run_folder import RunFolder
from NNMambaLib.training.stage import OnProgress, Stage
from NNMambaLib.training.tasks.task import Task


def prepare_run(
    task: Task,
    run: RunFolder,
    given: Configuration,
    overwrite: bool,
    device: torch.device,
    on_progress: OnProgress,
) -> Plan | None:
    """Set up the folder of a training and prepare its cases; return the plan, or None if the training has finished.

    Args:
        given: the configuration as the user gave it.
        overwrite: remove an earlier training from the folder.
        device: that will train, whose memory must suffice.

    Raises:
        VolumeError, TrainingError, ModelError, OutputError: see `train_folder`; no step was trained.
    """
    run.check(task.name, given, overwrite)
    if run.finished:
        return None
    plan = _make_plan(task, given, device, on_progress)
    # A manifest that could not be written must be found before the training, not after it.
    check_manifest(make_manifest(run.name, task, plan, {}, []))
    run.settle(task.name, given, plan.configuration, plan.split)
    _prepare_cases(task, plan, run, on_progress)
    return plan


def _make_plan(task: Task, given: Configuration, device: torch.device, on_progress: OnProgress) -> Plan:
    checking = Stage("Checking the data", len(task.cases), on_progress)
    survey = survey_cases(task.cases, task.check, checking.step)
    configuration = resolve(given, task.name, survey)
    specification = input_specification(configuration, task.channel_names(survey.channels), survey)
    network = task.objective(configuration, survey.channels).network
    check_step_memory(configuration, network, device)
    check_case_memory(survey.grids, specification, network)
    split = split_by_subject(task.cases, configuration.validation_fraction, configuration.seed, task.needed())
    return Plan(configuration, specification, split)


def _prepare_cases(task: Task, plan: Plan, run: RunFolder, on_progress: OnProgress) -> None:
    preparing = Stage("Preparing the data", len(task.cases), on_progress)
    for case in task.cases:
        prepare_case(case, plan.specification, task.reference, run.prepared)
        preparing.step()
