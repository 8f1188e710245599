"""Training settings."""

from __future__ import annotations

import json
from pathlib import Path

from NNMambaLib.training.configuration import Configuration, as_json, read_configuration


def seeds(folder: Path) -> None:
    """Write the defaults, and a few settings alone."""
    defaults = {key: value for key, value in as_json(Configuration()).items() if value is not None}
    few = {"patch": [32, 32, 32], "spacing": [1.5, 1.5, 2.0], "steps": 100}
    for number, content in enumerate((defaults, few)):
        (folder / str(number)).mkdir()
        (folder / str(number) / "settings.json").write_text(json.dumps(content), encoding="utf-8")


def feed(folder: Path) -> None:
    """Read the settings."""
    read_configuration(folder / "settings.json")
