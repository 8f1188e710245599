"""Manifests as text (``model.json``): read, written, and held to their schema."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from NNMambaLib.errors import ModelError
from NNMambaLib.models.manifest import (
    Channel,
    Code,
    HeatmapDecoding,
    InputSpecification,
    Label,
    LandmarkDefinition,
    Manifest,
    Metric,
    Normalization,
    Target,
    Terminology,
)
from NNMambaLib.models.manifest_checks import check_consistency
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.strict_json import parse_json

SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")

_LONGEST_COMPLAINT = 300


def parse_manifest(text: str, source: str = "model.json") -> tuple[Manifest, str]:
    """Return the manifest in a text and the SHA-256 of the weights that it belongs to.

    Raises:
        ModelError: if the text is not JSON, breaks the schema, or contradicts itself.
    """
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ModelError(f"{source} is not valid JSON ({error}): restore the original file.") from error
    _check_schema(content, source)
    content.pop("schema_version")
    weights = content.pop("weights")
    manifest = Manifest(
        **{
            **content,
            "network": NetworkDescription(**content["network"]),
            "input": _input(content["input"]),
            "labels": tuple(label_from_dict(entry) for entry in content.get("labels", ())),
            "landmarks": tuple(LandmarkDefinition(**entry) for entry in content.get("landmarks", ())),
            "heatmap": HeatmapDecoding(**content["heatmap"]) if "heatmap" in content else None,
            "targets": tuple(
                Target(**{**entry, "classes": tuple(entry["classes"])}) for entry in content.get("targets", ())
            ),
            "outputs": tuple(content.get("outputs", ())),
            "metrics": tuple(Metric(**entry) for entry in content.get("metrics", ())),
        }
    )
    check_consistency(manifest, source)
    return manifest, weights["sha256"]


def format_manifest(manifest: Manifest, weights_sha256: str) -> str:
    """Return the text of ``model.json``.

    Raises:
        ModelError: if the manifest breaks the schema or contradicts itself.
    """
    content = {
        "schema_version": 1,
        **_without_empty(asdict(manifest)),
        "weights": {"file": "weights.safetensors", "sha256": weights_sha256},
    }
    for channel in content["input"]["channels"]:
        # The schema's spelling, which packages of every version have.
        channel["normalisation"] = channel.pop("normalization")
    try:
        content = parse_json(json.dumps(content))
    except ValueError as error:
        raise ModelError(f"The manifest of {manifest.name!a} cannot be written ({error}): correct it.") from error
    _check_schema(content, manifest.name)
    check_consistency(manifest, manifest.name)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _check_schema(content: Any, source: str) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(_schema()).iter_errors(content))
    if error is not None:
        where, complaint = ".".join(str(part) for part in error.absolute_path) or "the manifest", error.message
        if error.validator == "pattern" and error.validator_value in _text_patterns():
            complaint = f"{error.instance[:80]!a} holds control characters"
        elif error.validator is None:
            # The schema rules the section out; jsonschema neither names it nor says why.
            where = next(key for key, value in content.items() if value == error.instance)
            complaint = f"a manifest for {content['task']} has no such section"
        if len(complaint) > _LONGEST_COMPLAINT:
            # jsonschema repeats the value that is wrong, however long it is.
            complaint = f"{complaint[:_LONGEST_COMPLAINT]} ... (rule: {error.validator} {error.validator_value})"
        raise ModelError(f"{source} does not follow the schema at {where}: {complaint}; correct the manifest.")


@lru_cache(maxsize=1)
def _schema() -> dict:
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


def _text_patterns() -> tuple[str, ...]:
    """Return the patterns that keep control characters out of texts."""
    return tuple(_schema()["$defs"][kind]["pattern"] for kind in ("line", "text"))


def label_from_dict(entry: dict) -> Label:
    """Return the label of an entry of ``model.json``."""
    terminology = entry.get("terminology")
    if terminology is not None:
        terminology = Terminology(**{key: Code(**code) for key, code in terminology.items()})
    return Label(entry["value"], entry["name"], tuple(entry["color"]), terminology)


def _input(entry: dict) -> InputSpecification:
    channels = tuple(
        Channel(channel["name"], Normalization(**channel["normalisation"]), tuple(channel.get("keywords", ())))
        for channel in entry["channels"]
    )
    lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
    # A file that names no orientation has none.
    return InputSpecification(**{"orientation": None, **entry, **lists, "channels": channels})


def _without_empty(value: Any) -> Any:
    """Return a value without what is None or empty in it, so that a file says only what applies."""
    if isinstance(value, dict):
        kept = {key: _without_empty(entry) for key, entry in value.items()}
        return {key: entry for key, entry in kept.items() if entry is not None and entry not in ({}, [], ())}
    if isinstance(value, (list, tuple)):
        return [_without_empty(entry) for entry in value]
    return value
