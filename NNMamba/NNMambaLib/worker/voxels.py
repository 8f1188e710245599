"""Voxels as files in the worker's folder: written piece by piece, read through a memory map."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.volumes.volume import Volume

# A piece is copied in a few milliseconds: a graphical interface stays alive between two.
_PIECE_BYTES = 8 * 2**20
# Kinds of numpy types: of complex numbers the engine has its own sentence.
_NUMBERS = "biufc"


def write_in_pieces(volume: Volume, path: Path) -> Iterator[int]:
    """Write a volume's voxels in C order; yield the bytes written so far after each piece.

    Raises:
        OutputError: if the disk is full or the folder is gone.
    """
    # Not a mapped file: a full disk would end the process that writes to it.
    channels, depth, *_ = volume.array.shape
    slices_per_piece = max(1, _PIECE_BYTES * channels * depth // max(1, volume.array.nbytes))
    try:
        with path.open("xb") as file:
            for channel in volume.array:
                for first in range(0, len(channel), slices_per_piece):
                    file.write(np.ascontiguousarray(channel[first : first + slices_per_piece]).data)
                    yield file.tell()
    except OSError as error:
        raise write_error(error, path) from error


def write(volume: Volume, path: Path) -> dict[str, Any]:
    """Write a volume; return its message."""
    for _ in write_in_pieces(volume, path):
        pass
    return volume_message(volume, path)


def volume_message(volume: Volume, path: Path) -> dict[str, Any]:
    """Return what `map_volume` needs to know of a volume that was written to a file."""
    return {
        "file": str(path),
        "dtype": volume.array.dtype.str,
        "shape": list(volume.array.shape),
        "matrix": np.asarray(volume.matrix, float).tolist(),
        "name": volume.name,
    }


def check_voxels(volume: Volume) -> None:
    """Refuse a volume that a file of voxels cannot hold.

    Raises:
        VolumeError: if it has no voxels, or they are not numbers.
    """
    if volume.array.size == 0:
        shape = " x ".join(map(str, volume.array.shape))
        raise VolumeError(f"{volume.name} has no voxels (channels, z, y, x: {shape}): give a volume that has some.")
    if volume.array.dtype.kind not in _NUMBERS:
        raise VolumeError(
            f"{volume.name} holds voxels of the type {volume.array.dtype}, which are not numbers: convert them to "
            "integers or floating-point numbers."
        )


def map_volume(message: dict[str, Any]) -> Volume:
    """Return the volume of a message; its voxels are a read-only memory map of the file.

    Raises:
        OutputError: if the file is gone.
    """
    try:
        array = np.memmap(message["file"], np.dtype(message["dtype"]), "r", shape=tuple(message["shape"]))
    except OSError as error:
        raise write_error(error, Path(message["file"])) from error
    return Volume(array, np.array(message["matrix"]), message["name"])


def in_memory(volume: Volume) -> Volume:
    """Return the volume with its voxels copied, so that it outlives its file."""
    return Volume(np.array(volume.array), volume.matrix, volume.name)


def write_error(error: OSError, path: Path) -> OutputError:
    """Return the error for a file of the worker's folder that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return OutputError(
            f"The disk of the temporary folder {path.parents[2]} is full: free some space there, or set "
            f"{'TEMP' if os.name == 'nt' else 'TMPDIR'} to a folder on another disk."
        )
    return OutputError(
        f"Voxels cannot be handed over in the temporary folder {path.parent} ({error.strerror}): run again."
    )
