"""What client and worker say to each other: one JSON object a line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from NNMambaLib.models.manifest import label_from_dict
from NNMambaLib.results import (
    ClassificationResult,
    Explanation,
    Landmark,
    LandmarksResult,
    Prediction,
    Provenance,
    SegmentationResult,
)
from NNMambaLib.worker.voxels import map_volume, write

Result = SegmentationResult | LandmarksResult | ClassificationResult
# The volumes of a segmentation.
_VOLUMES = ("labels", "probabilities", "uncertainty")


def to_line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=True).encode() + b"\n"


def from_line(line: bytes) -> dict[str, Any]:
    return json.loads(line)


def result_to_message(result: Result, folder: Path) -> dict[str, Any]:
    """Return a result as JSON has it, its voxels in files of the folder.

    Raises:
        OutputError: if they cannot be written.
    """
    provenance = result.provenance.as_dict()
    if isinstance(result, SegmentationResult):
        volumes = {name: getattr(result, name) for name in _VOLUMES}
        return {
            "task": "segmentation",
            "provenance": provenance,
            "volumes_ml": result.volumes_ml,
            "label_definitions": [asdict(label) for label in result.label_definitions],
            **{name: volume and write(volume, folder / f"{name}.raw") for name, volume in volumes.items()},
        }
    if isinstance(result, LandmarksResult):
        landmarks = [asdict(landmark) for landmark in result.landmarks]
        return {"task": "landmarks", "provenance": provenance, "landmarks": landmarks}
    predictions = [asdict(prediction) for prediction in result.predictions]
    explanation = result.explanation and {
        "target": result.explanation.target,
        "predicted": result.explanation.predicted,
        "volume": write(result.explanation.volume, folder / "explanation.raw"),
    }
    return {
        "task": "classification",
        "provenance": provenance,
        "predictions": predictions,
        "explanation": explanation,
    }


def result_from_message(message: dict[str, Any]) -> Result:
    """Return the result of a message; its voxels are mapped files."""
    provenance = message["provenance"]
    provenance = Provenance(**{**provenance, "notices": tuple(provenance["notices"])})
    if message["task"] == "segmentation":
        return SegmentationResult(
            label_definitions=tuple(_label(entry) for entry in message["label_definitions"]),
            volumes_ml=message["volumes_ml"],
            provenance=provenance,
            **{name: message[name] and map_volume(message[name]) for name in _VOLUMES},
        )
    if message["task"] == "landmarks":
        return LandmarksResult(tuple(_landmark(entry) for entry in message["landmarks"]), provenance)
    explanation = message["explanation"]
    return ClassificationResult(
        tuple(Prediction(**entry) for entry in message["predictions"]),
        provenance,
        explanation=explanation and Explanation(**{**explanation, "volume": map_volume(explanation["volume"])}),
    )


def _label(entry: dict[str, Any]):
    terminology = entry["terminology"]
    if terminology is not None:
        terminology = {key: code for key, code in terminology.items() if code is not None}
    return label_from_dict({**entry, "terminology": terminology})


def _landmark(entry: dict[str, Any]) -> Landmark:
    position = entry["position"]
    return Landmark(**{**entry, "position": None if position is None else tuple(position)})
