"""The tasks by name."""

from __future__ import annotations

from typing import Any

from NNMambaLib.errors import ModelError
from NNMambaLib.inference.classification import Classification
from NNMambaLib.inference.landmarks import Landmarks
from NNMambaLib.inference.segmentation import Segmentation
from NNMambaLib.inference.task import Task

TASKS: dict[str, Task[Any]] = {task.name: task for task in (Segmentation(), Landmarks(), Classification())}


def task_named(name: str) -> Task[Any]:
    """Return the task of a name.

    Raises:
        ModelError: if this version has none of that name.
    """
    if name not in TASKS:
        raise ModelError(f"There is no task '{name}': choose {', '.join(TASKS)}, or update NNMamba.")
    return TASKS[name]
