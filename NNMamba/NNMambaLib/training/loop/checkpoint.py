"""Checkpoints, each one file that is written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from NNMambaLib.errors import TrainingError
from NNMambaLib.files import atomic_file, make_folder
from NNMambaLib.plain_files import check_plain


def write_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; an earlier one is replaced once the new one is complete.

    Raises:
        OutputError: if it cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            # torch's writer of archives has no other.
            raise OSError(str(error).splitlines()[0]) from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return what `write_checkpoint` wrote, its tensors on the CPU.

    Raises:
        TrainingError: if the file is missing, damaged or something else.
    """
    check_plain(path, TrainingError)
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        # torch raises a different type for each way in which a file can be damaged.
        raise TrainingError(f"{path} is not a checkpoint, or is damaged: remove it to train from the start.") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} is not the checkpoint of a training: remove it to train from the start.")
    return content
