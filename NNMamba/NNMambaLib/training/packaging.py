"""The manifest and the card of the model package that a training ends with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from NNMambaLib import __version__
from NNMambaLib.models.limits import MAX_NAME
from NNMambaLib.models.manifest import Manifest, Metric
from NNMambaLib.models.manifest_checks import DEVICE_NAMES
from NNMambaLib.models.manifest_file import format_manifest
from NNMambaLib.results import RESEARCH_USE
from NNMambaLib.training.configuration import as_json
from NNMambaLib.training.plan import Plan
from NNMambaLib.training.tasks.task import Task


def make_manifest(name: str, task: Task, plan: Plan, metrics: Mapping[str, float], scores: Sequence[Any]) -> Manifest:
    """Return the manifest of a training.

    Args:
        name: what the model is to be called; characters that manifests do not allow are replaced.
        plan: its configuration becomes the provenance.
        metrics: of the validation, by name.
        scores: of the validation cases, from which the task makes its own sections.
    """
    split, command = plan.split, f"nnmamba train {task.name}"
    data = f"{len(split.validation)} validation cases, kept out of training"
    return Manifest(
        name=_model_name(name),
        version="0.1.0",
        title=name,
        description=f"Trained on {len(split.training)} cases with {command}.",
        task=task.name,
        network=task.objective(plan.configuration, len(plan.specification.channels)).network,
        input=plan.specification,
        metrics=tuple(Metric(metric, round(value, 4), data, command) for metric, value in metrics.items()),
        licence="Not stated",
        intended_use=RESEARCH_USE,
        provenance={
            "command": command,
            "configuration": as_json(plan.configuration),
            "training_cases": len(split.training),
            "validation_cases": len(split.validation),
            "engine_version": __version__,
            "torch_version": torch.__version__,
        },
        **task.sections(scores),
    )


def _model_name(text: str) -> str:
    """Return a text as a name that manifests allow, with other characters replaced."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")[:MAX_NAME].strip("._-") or "model"
    return f"model-{name}" if name.split(".")[0] in DEVICE_NAMES else name


def check_manifest(manifest: Manifest) -> None:
    """Check that a manifest can be written; one with a nameless label, for example, cannot.

    Raises:
        ModelError: naming the section.
    """
    format_manifest(manifest, "0" * 64)


def model_card(manifest: Manifest) -> str:
    """Return a model card (Markdown) made from the manifest."""
    rows = [f"| {metric.name} | {metric.value:g} | {metric.data} |" for metric in manifest.metrics]
    table = ["", "| metric | value | measured on |", "| --- | --- | --- |", *rows] if rows else []
    lines = [f"# {manifest.title}", "", manifest.description, *table, "", manifest.intended_use]
    return "\n".join(lines) + "\n"
