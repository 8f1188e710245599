"""Point lists as Slicer writes them."""

from __future__ import annotations

import json
from pathlib import Path

from NNMambaLib.export.markups_file import read_markups


def seeds(folder: Path) -> None:
    """Write a list with a defined and an undefined point."""
    points = [
        {"id": "1", "label": "AC", "position": [1.5, -2.0, 3.25], "positionStatus": "defined"},
        {"id": "2", "label": "PC", "position": [0.0, 0.0, 0.0], "positionStatus": "undefined"},
    ]
    content = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}]}
    (folder / "0").mkdir()
    (folder / "0" / "points.mrk.json").write_text(json.dumps(content), encoding="utf-8")


def feed(folder: Path) -> None:
    """Read the points."""
    read_markups(folder / "points.mrk.json")
