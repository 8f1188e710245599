"""The model package that a training ends with: manifest, card and weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from NNMambaLib import __version__
from NNMambaLib.models.manifest import InputSpecification, Manifest, Metric
from NNMambaLib.models.package import ModelPackage, write_package
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.results import RESEARCH_USE
from NNMambaLib.training.configuration import Configuration, as_json
from NNMambaLib.training.data.persons import Split


def package_training(
    folder: Path,
    name: str,
    task: str,
    network: nn.Module,
    description: NetworkDescription,
    specification: InputSpecification,
    configuration: Configuration,
    split: Split,
    figures: Mapping[str, float],
    sections: Mapping[str, Any],
) -> ModelPackage:
    """Write the package of a trained network to a folder.

    Args:
        name: what the model is to be called; characters that manifests do not allow are replaced.
        configuration: as it was resolved; it becomes the provenance.
        figures: of the validation, by name.
        sections: the task's own ones, see `Manifest`.

    Raises:
        OutputError: if it cannot be written.
    """
    command, data = f"nnmamba train {task}", f"{len(split.validation)} validation cases, kept out of training"
    manifest = Manifest(
        name=re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-") or "model",
        version="0.1.0",
        title=name,
        description=f"Trained on {len(split.training)} cases with {command}.",
        task=task,
        network=description,
        input=specification,
        metrics=tuple(Metric(figure, round(value, 4), data, command) for figure, value in figures.items()),
        licence="Not stated",
        intended_use=RESEARCH_USE,
        provenance={
            "command": command,
            "configuration": as_json(configuration),
            "training_cases": len(split.training),
            "validation_cases": len(split.validation),
            "engine_version": __version__,
            "torch_version": torch.__version__,
        },
        **sections,
    )
    return write_package(folder, manifest, network, card=_card(manifest))


def _card(manifest: Manifest) -> str:
    rows = [f"| {metric.name} | {metric.value:g} | {metric.data} |" for metric in manifest.metrics]
    table = ["", "| figure | value | measured on |", "| --- | --- | --- |", *rows] if rows else []
    lines = [f"# {manifest.title}", "", manifest.description, *table, "", manifest.intended_use]
    return "\n".join(lines) + "\n"
