"""What a batch does: cases in, steps to run on each, files out. All of it crosses to other processes as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from NNMambaLib.errors import OutputError
from NNMambaLib.inference.tasks import task_named
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.models.manifest_file import format_manifest

CASES_FOLDER = "cases"
"""Below the output: a folder for each case, with its record, its log and its lock."""

_MAX_NAME = 120


@dataclass(frozen=True)
class Case:
    """A case: its name, and one volume a channel (files, or folders with one DICOM series each)."""

    name: str
    channels: tuple[str, ...]

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Case:
        return cls(message["name"], tuple(message["channels"]))


@dataclass(frozen=True)
class Step:
    """A model to run on each case.

    Attributes:
        name: of the folder for its files within the output; empty where it is the only step.
        task: name of one of `inference.tasks.TASKS`.
        model: name or path of a package.
        options: of the task.
        files: the ending of each file that is written, by the names of the task's `OutputFile`s.
    """

    name: str
    task: str
    model: str
    options: Mapping[str, Any]
    files: Mapping[str, str]

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Step:
        return cls(**message)

    def paths(self, case: str) -> dict[str, str]:
        """Return the paths of a case's files below the output, with slashes, by the names of the task's files.

        The required file lies in the step's folder; any other in a folder of its own in there, so that a folder holds
        one kind of file, as ``nnmamba evaluate`` takes it.
        """
        first = task_named(self.task).files[0].name
        parts = {kind: [self.name, "" if kind == first else kind, case + ending] for kind, ending in self.files.items()}
        return {kind: "/".join(part for part in names if part) for kind, names in parts.items()}


@dataclass(frozen=True)
class Plan:
    """What is done with each case, and where.

    Attributes:
        output: the folder of all results.
        device, backend, precision, memory_limit: of the engine, see `Engine`.
        overwrite: replace results that somebody changed since, and files of others.
    """

    output: str
    steps: tuple[Step, ...]
    device: str = "auto"
    backend: str = "auto"
    precision: str = "float32"
    memory_limit: int | None = None
    overwrite: bool = False
    models: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Plan:
        return cls(**{**message, "steps": tuple(Step.from_message(step) for step in message["steps"])})

    def as_message(self) -> dict[str, Any]:
        return asdict(self)

    def with_models(self) -> Plan:
        """Return the plan with the identity of its models: by these it is known whether one has changed.

        Raises:
            ModelError: if one is missing, is for another task, or does not allow an option.
        """
        models = {}
        for step in self.steps:
            package, task = find_package(step.model), task_named(step.task)
            package.require_task(step.task)
            task.check(package.manifest, task.complete(step.options))
            manifest = format_manifest(package.manifest, package.sha256)
            models[step.name] = {
                "name": package.manifest.name,
                "version": package.manifest.version,
                "weights_sha256": package.sha256,
                "manifest_sha256": hashlib.sha256(manifest.encode()).hexdigest(),
            }
        return Plan(**{**vars(self), "models": models})

    def channels(self) -> int:
        """Return how many channels each case must have.

        Raises:
            ModelError: if a model is missing.
            OutputError: if the models take different numbers of channels.
        """
        counts = {step.model: len(find_package(step.model).manifest.input.channels) for step in self.steps}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{model} {count}" for model, count in counts.items())
            raise OutputError(f"The models take different numbers of channels ({listed}): run them as two batches.")
        return next(iter(counts.values()))

    def settings(self) -> dict[str, Any]:
        """Return what determines the results beside the input: a case whose record has other settings has changed.

        Device and backend do not belong to it: results are the same up to rounding. Nor does where a model lies.
        """
        steps = [{key: value for key, value in asdict(step).items() if key != "model"} for step in self.steps]
        return {"steps": steps, "precision": self.precision, "models": self.models}

    def settings_digest(self) -> str:
        text = json.dumps(self.settings(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def case_folder(self, name: str) -> Path:
        return Path(self.output) / CASES_FOLDER / name

    def output_paths(self, name: str) -> list[str]:
        """Return the paths of all files of a case, below the output."""
        return [path for step in self.steps for path in step.paths(name).values()]


def check_case_name(name: str, source: object) -> str:
    """Return a case's name, if files can be named after it on every system.

    Raises:
        OutputError: naming the case and where it comes from.
    """
    bad = [letter for letter in name if letter in '<>:"/\\|?*' or not letter.isprintable()]
    if not name or bad or name != name.strip(" .") or name.startswith(".") or len(name.encode()) > _MAX_NAME:
        raise OutputError(
            f"The case {name!a} ({source}) cannot give its name to files: use letters, digits, '-', '_' and '.', "
            f"{_MAX_NAME} bytes at most."
        )
    return name
