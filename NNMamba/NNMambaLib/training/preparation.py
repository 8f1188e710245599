"""The preparation of a training: the plan, the folder, and the prepared cases."""

from __future__ import annotations

from collections.abc import Callable

import torch

from NNMambaLib.training.configuration import Configuration
from NNMambaLib.training.data.prepared import prepare_case
from NNMambaLib.training.data.sources import Sources, case_digest
from NNMambaLib.training.packaging import check_manifest, make_manifest
from NNMambaLib.training.plan import Plan
from NNMambaLib.training.planning import make_plan, survey_task
from NNMambaLib.training.run_folder import RunFolder
from NNMambaLib.training.stage import OnNotice, OnProgress, Stage
from NNMambaLib.training.tasks.task import Task


def prepare_run(
    task: Task,
    run: RunFolder,
    given: Configuration,
    overwrite: bool,
    device: torch.device,
    on_progress: OnProgress,
    on_notice: OnNotice,
    on_plan: Callable[[Plan], None],
) -> Plan | None:
    """Set up the folder of a training and prepare its cases; return the plan, or None if the training has finished.

    Args:
        given: the configuration as the user gave it.
        overwrite: remove an earlier training from the folder.
        device: that will train, whose memory must suffice.
        on_notice: called with what the user should know before hours are spent.
        on_plan: called with the plan before anything is written.

    Raises:
        VolumeError, TrainingError, ModelError, OutputError: see `train_folder`; no step was trained.
    """
    run.check(task.name, given, overwrite)
    if run.finished:
        for notice in run.changes(_read_sources(task, on_progress)):
            on_notice(notice)
        return None
    survey, sources = survey_task(task, on_progress)
    plan = make_plan(task, given, device, survey)
    # A manifest that could not be written must be found before the training, not after it.
    check_manifest(make_manifest(run.name, task, plan, {}, []))
    on_plan(plan)
    run.settle(task.name, given, plan.configuration, plan.split)
    for notice in (*run.changes(sources), *plan.warnings):
        on_notice(notice)
    run.record_sources(sources)
    _prepare_cases(task, plan, run, sources, on_progress)
    return plan


def _read_sources(task: Task, on_progress: OnProgress) -> Sources:
    stage, digests = Stage("Looking for changes", len(task.cases), on_progress), {}
    for case in task.cases:
        digests[case.name] = case_digest(case, task.source(case))
        stage.step()
    return Sources(task.names(), digests)


def _prepare_cases(task: Task, plan: Plan, run: RunFolder, sources: Sources, on_progress: OnProgress) -> None:
    preparing = Stage("Preparing the data", len(task.cases), on_progress)
    for case in task.cases:
        digest = sources.prepared(case.name, plan.specification)
        prepare_case(case, plan.specification, task.reference, run.prepared, digest)
        preparing.step()
