"""The provenance of a result, kept in the attributes of its node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from NNMambaLib.results import RESEARCH_USE, Provenance

if TYPE_CHECKING:
    import slicer

# Attributes of a result's node, without "NNMamba.", and the fields of `Provenance` that they hold.
_PROVENANCE = {
    "Model": "model",
    "ModelVersion": "model_version",
    "ModelLicence": "licence",
    "WeightsSHA256": "weights_sha256",
    "EngineVersion": "engine_version",
    "Device": "device",
    "ScanBackend": "scan_backend",
    "Options": "options",
    "Started": "started",
    "Seconds": "seconds",
    "Notices": "notices",
}
_AS_JSON = ("Options", "Seconds", "Notices")


def describe_node(node: slicer.vtkMRMLNode, provenance: Provenance) -> None:
    """Write the provenance of a result into the attributes of its node; see `provenance_of`."""
    for name, value in provenance_attributes(provenance).items():
        node.SetAttribute(name, value)


def provenance_attributes(provenance: Provenance) -> dict[str, str]:
    values = {key: getattr(provenance, name) for key, name in _PROVENANCE.items()}
    attributes = {key: json.dumps(value, default=str) if key in _AS_JSON else value for key, value in values.items()}
    attributes["ResearchUse"] = RESEARCH_USE
    return {f"NNMamba.{key}": str(value) for key, value in attributes.items()}


def provenance_of(node: slicer.vtkMRMLNode) -> Provenance | None:
    """Return the provenance of a node's result, None where the node is not a result."""
    values = {key: node.GetAttribute(f"NNMamba.{key}") for key in _PROVENANCE}
    if None in values.values():
        return None
    return Provenance(
        **{name: values[key] for key, name in _PROVENANCE.items() if key not in _AS_JSON},
        **{_PROVENANCE[key]: json.loads(values[key]) for key in _AS_JSON if key != "Notices"},
        notices=tuple(json.loads(values["Notices"])),
    )
