"""What client and worker say to each other: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from NNMambaLib.inference.tasks import task_named
from NNMambaLib.results import Provenance, Result
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.worker.voxels import map_volume, write


def to_line(message: dict[str, Any]) -> bytes:
    """Return a message as a line.

    Raises:
        TypeError, ValueError, RecursionError: if JSON cannot hold it.
    """
    return json.dumps(message, ensure_ascii=True).encode() + b"\n"


def from_line(line: bytes) -> dict[str, Any]:
    """Return the message of a line.

    Raises:
        ValueError: if the line is not a JSON object.
    """
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error
    if not isinstance(message, dict):
        raise ValueError(f"not an object but {type(message).__name__}")
    return message


def result_to_message(task: str, result: Result, folder: Path) -> dict[str, Any]:
    """Return a task's result as JSON has it, its voxels in files of the folder.

    Raises:
        OutputError: if they cannot be written.
    """
    packed = task_named(task).pack(result, lambda volume, name: write(volume, folder / f"{name}.raw"))
    return {"task": task, "provenance": result.provenance.as_dict(), **packed}


def result_from_message(message: dict[str, Any]) -> Result:
    """Return the result of a message; its voxels are mapped files."""
    provenance = message["provenance"]
    provenance = Provenance(**{**provenance, "notices": tuple(provenance["notices"])})
    return task_named(message["task"]).unpack(message, provenance, _read)


def _read(packed: dict[str, Any] | None) -> Volume | None:
    return None if packed is None else map_volume(packed)
