"""Slicer's markups files (``.mrk.json``), written and read without Slicer's libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.files import read_text, write_text
from NNMambaLib.results import RESEARCH_USE, Landmark, LandmarksResult
from NNMambaLib.volumes.volume import LPS_TO_RAS, Position

# Slicer recognises the format by the end of this address; the file is never fetched.
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)

# From a file's coordinate system to LPS, for each axis.
_SIGNS = {"LPS": (1.0, 1.0, 1.0), "RAS": tuple(np.diag(LPS_TO_RAS)[:3].tolist())}


def write_markups(result: LandmarksResult, path: str | Path) -> None:
    """Write landmarks to a ``.mrk.json`` file, positions in LPS and mm; it appears whole or not at all.

    Landmarks that were not found are kept, with an undefined position.

    Raises:
        OutputError: if the path does not end in ``.mrk.json`` or cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith(".mrk.json"):
        raise OutputError(f"{path} is not named as a markups file: end it in .mrk.json.")
    text = json.dumps(markups(result, path.name[: -len(".mrk.json")]), indent=1, ensure_ascii=False)
    write_text(text + "\n", path)


def markups(result: LandmarksResult, name: str) -> dict[str, Any]:
    """Return the content of a markups file with one fiducial list."""
    return {
        "@schema": _SCHEMA,
        "nnmamba": {**result.provenance.as_dict(), "research_use": RESEARCH_USE},
        "markups": [
            {
                "type": "Fiducial",
                "name": name,
                "coordinateSystem": "LPS",
                "coordinateUnits": "mm",
                "locked": False,
                "fixedNumberOfControlPoints": False,
                "labelFormat": "%N-%d",
                "lastUsedControlPointNumber": len(result.landmarks),
                "controlPoints": [
                    _control_point(number, landmark) for number, landmark in enumerate(result.landmarks, start=1)
                ],
            }
        ],
    }


def landmark_description(landmark: Landmark) -> str:
    """Return the definition, the confidence and whether it was found, on one line, as shown beside a landmark."""
    found = "" if landmark.found else "not found; "
    return f"{landmark.definition} ({found}confidence {landmark.confidence:.2f})"


def _control_point(number: int, landmark: Landmark) -> dict[str, Any]:
    point: dict[str, Any] = {
        "id": str(number),
        "label": landmark.name,
        "description": landmark_description(landmark),
        "associatedNodeID": "",
    }
    if landmark.position is not None:
        point["position"] = [float(coordinate) for coordinate in landmark.position]
    return point | {
        "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined" if landmark.found else "undefined",
    }


def read_markups(path: Path) -> dict[str, Position | None]:
    """Return {name: LPS position in mm, or None where it is undefined} of a markups file.

    Raises:
        VolumeError: if it cannot be opened, is no markups file, or names two points alike.
    """
    text = read_text(path)
    try:
        markup = json.loads(text)["markups"][0]
        signs = _SIGNS[markup.get("coordinateSystem", "LPS")]
        names = [point["label"] for point in markup["controlPoints"]]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise VolumeError(f"{path} has two points named '{twice}': rename or remove one.")
        return {
            point["label"]: tuple(sign * value for sign, value in zip(signs, point["position"], strict=True))
            if point.get("positionStatus", "defined") == "defined"
            else None
            for point in markup["controlPoints"]
        }
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise VolumeError(f"{path} is not a Slicer markups file ({error}): save it again as .mrk.json.") from error
