"""Slicer's markups files (``.mrk.json``), written and read without Slicer's libraries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.files import write_text
from NNMambaLib.plain_files import MAX_JSON_BYTES, read_text
from NNMambaLib.results import RESEARCH_USE, Landmark, LandmarksResult
from NNMambaLib.strict_json import parse_json
from NNMambaLib.volumes.volume import LPS_TO_RAS, Position

# Slicer recognises the format by the end of this address; the file is never fetched.
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)

# From a file's coordinate system to LPS, for each axis.
_SIGNS = {"LPS": (1.0, 1.0, 1.0), "RAS": tuple(np.diag(LPS_TO_RAS)[:3].tolist())}

_MILLIMETRES = ("mm", "millimeter", "millimetre")
# mm from the origin of the scanner or the scene; a kilometre away there is no patient.
_MAX_DISTANCE = 1e6


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
    """Return {name: LPS position in mm, or None where it is undefined} of all points of a markups file, list by list.

    Raises:
        VolumeError: if it cannot be opened, is not a markups file, names two points alike, has a point without a name
            or with a position that is not three finite numbers, or another unit than mm.
    """
    text = read_text(path, MAX_JSON_BYTES)
    try:
        # Slicer writes NaN for what is undefined.
        content = parse_json(text, allow_nan=True)
    except ValueError as error:
        raise VolumeError(f"{path} is not a Slicer markups file ({error}): save it again as .mrk.json.") from error
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or not markups or not all(isinstance(entry, dict) for entry in markups):
        raise VolumeError(f"{path} is not a Slicer markups file (it has no 'markups'): save it again as .mrk.json.")
    positions: dict[str, Position | None] = {}
    for markup in markups:
        for name, position in _points(markup, path):
            if name in positions:
                raise VolumeError(f"{path} has two points named '{name}': rename or remove one.")
            positions[name] = position
    return positions


def _points(markup: dict[str, Any], path: Path) -> Iterator[tuple[str, Position | None]]:
    """Yield the name and the LPS position of each point of a list."""
    system, unit = markup.get("coordinateSystem", "LPS"), markup.get("coordinateUnits", "mm")
    signs = _SIGNS.get(system) if isinstance(system, str) else None
    if signs is None:
        raise VolumeError(f"{path} has the coordinate system {system!a}: save it again in LPS or RAS.")
    # Slicer writes a code as [value, scheme, meaning].
    if unit not in _MILLIMETRES and not (isinstance(unit, list) and unit[:1] == ["mm"]):
        raise VolumeError(f"{path} has positions in the unit {unit!a}: save it again in mm.")
    points = markup.get("controlPoints", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise VolumeError(f"{path} is not a Slicer markups file (its controlPoints): save it again as .mrk.json.")
    for point in points:
        name = point.get("label")
        if not isinstance(name, str) or not name.strip():
            raise VolumeError(f"{path} has a point with the label {name!a}: name it in Slicer and save it again.")
        yield name, _position(point, signs, path) if point.get("positionStatus", "defined") == "defined" else None


def _position(point: dict[str, Any], signs: tuple[float, ...], path: Path) -> Position:
    values: Any = point.get("position")
    right = isinstance(values, list) and len(values) == 3
    if not right or not all(type(value) in (int, float) and abs(value) <= _MAX_DISTANCE for value in values):
        raise VolumeError(
            f"{path} has '{point['label']}' at {str(values)[:60]}, which is not a position within {_MAX_DISTANCE:g} "
            "mm: correct it, or leave it undefined."
        )
    x, y, z = (sign * float(values[axis]) for axis, sign in enumerate(signs))
    return x, y, z
