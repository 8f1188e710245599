"""Hands a request to the worker: its voxels piece by piece into files, then the line that names them."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

from NNMambaLib.errors import OutputError
from NNMambaLib.worker import voxels
from NNMambaLib.worker.job import JobRequest
from NNMambaLib.worker.messages import to_line
from NNMambaLib.worker.questions import Question

# Free space to leave on the temporary folder's disk.
_SPARE_BYTES = 64 * 2**20


def hand_over(number: str, request: JobRequest | Question, folder: Path) -> Generator[None, None, bytes]:
    """Write a request's volumes piece by piece, yielding between pieces; return the line for the worker.

    Args:
        number: of the job.
        folder: of the job, in the client's private folder; it is made for a request with volumes.

    Raises:
        VolumeError: if a volume has no voxels, or they are not numbers.
        OutputError: if the disk is too full for the voxels, or the folder cannot be written.
    """
    if isinstance(request, Question):
        return to_line({"do": "ask", "job": number, "question": request.name, "arguments": request.arguments})
    for volume in request.volumes:
        voxels.check_voxels(volume)
    _make_folder(folder, sum(volume.array.nbytes for volume in request.volumes) + _SPARE_BYTES)
    messages = []
    for index, volume in enumerate(request.volumes):
        path = folder / f"input-{index}.raw"
        for _ in voxels.write_in_pieces(volume, path):
            yield
        messages.append(voxels.volume_message(volume, path))
    return to_line(
        {
            "do": "run",
            "job": number,
            "task": request.task,
            "model": request.model,
            "options": request.options,
            "device": request.device,
            "backend": request.backend,
            "memory_limit": request.memory_limit,
            "precision": request.precision,
            "volumes": messages,
            "folder": str(folder),
        }
    )


def _make_folder(folder: Path, needed: int) -> None:
    """Make a job's folder, where its disk has as many bytes free as are needed."""
    try:
        folder.mkdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise voxels.write_error(error, folder / "volume") from error
    if free < needed:
        raise OutputError(
            f"The disk of the temporary folder {folder.parents[1]} has {free / 2**20:.0f} MB free and the volume "
            f"needs {needed / 2**20:.0f}: free some space there, or set TMPDIR to a folder on another disk."
        )
