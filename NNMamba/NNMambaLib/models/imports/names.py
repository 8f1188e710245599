"""Names of labels, landmarks or classes, from a file."""

from __future__ import annotations

from pathlib import Path

from NNMambaLib.errors import ModelError
from NNMambaLib.models.limits import MAX_SETTINGS_BYTES
from NNMambaLib.plain_files import read_text
from NNMambaLib.strict_json import parse_json


def read_names(path: str | Path) -> tuple[str, ...]:
    """Return the names in a file: one a line; or in JSON a list of names, or nnU-Net's ``{"labels": {...}}``.

    Raises:
        ModelError: if it is neither.
    """
    path = Path(path)
    text = read_text(path, MAX_SETTINGS_BYTES, ModelError)
    if path.suffix.lower() != ".json":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error}): correct it.") from error
    if isinstance(content, dict):
        content = in_order(content.get("labels", content))
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise ModelError(
            f"{path} does not name labels: give a list of names, or names and numbers as in nnU-Net's dataset.json "
            '({"labels": {"background": 0, "liver": 1}}).'
        )
    return tuple(content)


def in_order(labels: object) -> list[str] | None:
    """Return the names of labels 1, 2, ... of nnU-Net: {name: number} in version 2, {"number": name} in version 1."""
    if not isinstance(labels, dict):
        return None
    if all(isinstance(value, str) and key.isdecimal() for key, value in labels.items()):
        labels = {name: int(number) for number, name in labels.items()}
    if not all(isinstance(value, int) for value in labels.values()):
        return None
    ordered = sorted((value, name) for name, value in labels.items() if value != 0)
    return (
        [name for _, name in ordered] if [value for value, _ in ordered] == list(range(1, len(ordered) + 1)) else None
    )
