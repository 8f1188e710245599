"""From the cases of a training to its plan: nothing is written, and nothing prepared."""

from __future__ import annotations

import math

import torch

from NNMambaLib.inference.memory_plan import usable_memory
from NNMambaLib.models.weights import number_count
from NNMambaLib.training.configuration import Configuration, ResolvedConfiguration
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.coverage import coverage_notices
from NNMambaLib.training.data.sources import Sources, case_digest
from NNMambaLib.training.data.subjects import split_by_subject
from NNMambaLib.training.data.survey import Survey, survey_cases
from NNMambaLib.training.fingerprint import Fingerprint, make_fingerprint
from NNMambaLib.training.memory import check_case_memory, check_step_memory, step_bytes
from NNMambaLib.training.plan import ORIENTATION, Plan, Requirements, input_specification, resolve
from NNMambaLib.training.stage import OnProgress, Stage
from NNMambaLib.training.tasks.task import Task

# Of one kind; the rest are counted.
_MOST_WARNINGS = 5
# Voxels at the chosen spacing below which a structure is hardly kept.
_THIN = 2.0


def survey_task(task: Task, on_progress: OnProgress) -> tuple[Survey, Sources]:
    """Return what the cases are like, and the digests of their files.

    Raises:
        VolumeError: naming the file that cannot be used.
    """
    stage, digests = Stage("Checking the data", len(task.cases), on_progress), {}

    def after_case(case: Case) -> None:
        digests[case.name] = case_digest(case, task.source(case))
        stage.step()

    return survey_cases(task.cases, task.check, after_case), Sources(task.names(), digests)


def make_plan(task: Task, given: Configuration, device: torch.device, survey: Survey) -> Plan:
    """Return the plan of a training.

    Raises:
        VolumeError: if the cases show nothing of what is to be learnt, or none can be spared for validation.
        TrainingError: if a volume or a step does not fit the memory, or the configuration cannot be used.
        ModelError: if the variant is not for the task.
    """
    configuration = resolve(given, task.name, survey)
    specification = input_specification(configuration, task.channel_names(survey.channels), survey)
    network = task.objective(configuration, survey.channels).network
    check_step_memory(configuration, network, device)
    check_case_memory(survey.grids, specification, network)
    split = split_by_subject(task.cases, configuration.validation_fraction, configuration.seed, survey.shown)
    covered = coverage_notices(task.names(), survey.shown, split)
    fingerprint = make_fingerprint(survey, task.names(), ORIENTATION)
    return Plan(
        task.name,
        network,
        configuration,
        specification,
        split,
        fingerprint,
        Requirements(str(device), number_count(network), step_bytes(configuration, network), usable_memory(device)),
        (
            *_first(survey.outliers, "channels have voxels far beyond all others"),
            *covered,
            *_first(_thin_structures(fingerprint, configuration), "structures are as thin"),
        ),
    )


def _thin_structures(fingerprint: Fingerprint, configuration: ResolvedConfiguration) -> list[str]:
    step = math.prod(configuration.spacing) ** (1 / 3)
    thin = [(entry.name, entry.thickness[0] / step) for entry in fingerprint.learnt if entry.thickness is not None]
    spacing = " x ".join(f"{length:g}" for length in configuration.spacing)
    return [
        f"{name} is {voxels:.1f} voxels thick at the spacing of {spacing} mm, and what is thinner than "
        f"{_THIN:g} is partly lost: set a smaller spacing"
        for name, voxels in sorted(thin, key=lambda pair: pair[1])
        if voxels < _THIN
    ]


def _first(warnings, rest: str) -> list[str]:
    left = len(warnings) - _MOST_WARNINGS
    return [*warnings[:_MOST_WARNINGS], *([f"{left} more {rest}"] if left > 0 else [])]
