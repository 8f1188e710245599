"""The preparation of a training: check the data, make the plan from them, and prepare the cases."""

from __future__ import annotations

import torch

from NNMambaLib.training.configuration import Configuration
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.coverage import coverage_notices
from NNMambaLib.training.data.prepared import prepare_case
from NNMambaLib.training.data.sources import Sources, case_digest
from NNMambaLib.training.data.subjects import split_by_subject
from NNMambaLib.training.data.survey import Survey, survey_cases
from NNMambaLib.training.memory import check_case_memory, check_step_memory
from NNMambaLib.training.packaging import check_manifest, make_manifest
from NNMambaLib.training.plan import Plan, input_specification, resolve
from NNMambaLib.training.run_folder import RunFolder
from NNMambaLib.training.stage import OnNotice, OnProgress, Stage
from NNMambaLib.training.tasks.task import Task

# Of one kind; the rest are counted.
_MOST_WARNINGS = 5


def prepare_run(
    task: Task,
    run: RunFolder,
    given: Configuration,
    overwrite: bool,
    device: torch.device,
    on_progress: OnProgress,
    on_notice: OnNotice,
) -> Plan | None:
    """Set up the folder of a training and prepare its cases; return the plan, or None if the training has finished.

    Args:
        given: the configuration as the user gave it.
        overwrite: remove an earlier training from the folder.
        device: that will train, whose memory must suffice.
        on_notice: called with what the user should know before hours are spent.

    Raises:
        VolumeError, TrainingError, ModelError, OutputError: see `train_folder`; no step was trained.
    """
    run.check(task.name, given, overwrite)
    if run.finished:
        for notice in run.changes(_read_sources(task, on_progress)):
            on_notice(notice)
        return None
    survey, sources = _survey(task, on_progress)
    plan = _make_plan(task, given, device, survey)
    # A manifest that could not be written must be found before the training, not after it.
    check_manifest(make_manifest(run.name, task, plan, {}, []))
    covered = coverage_notices(task.names(), survey.shown, plan.split)
    run.settle(task.name, given, plan.configuration, plan.split)
    for notice in (*run.changes(sources), *_outliers(survey), *covered):
        on_notice(notice)
    run.record_sources(sources)
    _prepare_cases(task, plan, run, sources, on_progress)
    return plan


def _survey(task: Task, on_progress: OnProgress) -> tuple[Survey, Sources]:
    stage, digests = Stage("Checking the data", len(task.cases), on_progress), {}

    def after_case(case: Case) -> None:
        digests[case.name] = case_digest(case, task.source(case))
        stage.step()

    return survey_cases(task.cases, task.check, after_case), Sources(task.names(), digests)


def _outliers(survey: Survey) -> list[str]:
    left = len(survey.outliers) - _MOST_WARNINGS
    more = [f"{left} more channels have voxels far beyond all others"] if left > 0 else []
    return [*survey.outliers[:_MOST_WARNINGS], *more]


def _read_sources(task: Task, on_progress: OnProgress) -> Sources:
    stage, digests = Stage("Looking for changes", len(task.cases), on_progress), {}
    for case in task.cases:
        digests[case.name] = case_digest(case, task.source(case))
        stage.step()
    return Sources(task.names(), digests)


def _make_plan(task: Task, given: Configuration, device: torch.device, survey: Survey) -> Plan:
    configuration = resolve(given, task.name, survey)
    specification = input_specification(configuration, task.channel_names(survey.channels), survey)
    network = task.objective(configuration, survey.channels).network
    check_step_memory(configuration, network, device)
    check_case_memory(survey.grids, specification, network)
    split = split_by_subject(task.cases, configuration.validation_fraction, configuration.seed, survey.shown)
    return Plan(configuration, specification, split)


def _prepare_cases(task: Task, plan: Plan, run: RunFolder, sources: Sources, on_progress: OnProgress) -> None:
    preparing = Stage("Preparing the data", len(task.cases), on_progress)
    for case in task.cases:
        digest = sources.prepared(case.name, plan.specification)
        prepare_case(case, plan.specification, task.reference, run.prepared, digest)
        preparing.step()
