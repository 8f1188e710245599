"""Prepared cases: preprocessed once, as the engine does it, and read from disk many times."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaLib.errors import OutputError
from NNMambaLib.files import atomic_folder, make_folder
from NNMambaLib.inference.preprocessing import Prepared, prepare
from NNMambaLib.models.manifest import InputSpecification
from NNMambaLib.plain_files import read_text
from NNMambaLib.training.data.case import Case, read_case
from NNMambaLib.volumes.volume import Grid

_ARRAY, _MATRIX, _DIGEST = "volume", "matrix", "digest.txt"
# Characters of a SHA-256 in hexadecimal.
_LONGEST_DIGEST = 64
Reference = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case on the model's grid.

    Attributes:
        array: (channel, z, y, x), float32, normalized; read from disk as it is used.
        reference: what is to be learnt, as arrays by name; the names depend on the task.
    """

    name: str
    array: np.ndarray
    grid: Grid
    reference: Reference

    @property
    def prepared(self) -> Prepared:
        return Prepared(self.array, self.grid, True)


def prepare_case(
    case: Case,
    specification: InputSpecification,
    make_reference: Callable[[Case, Grid], Reference],
    folder: Path,
    digest: str = "",
) -> None:
    """Write a case to `folder`/name, whole or not at all; one that was written with the same digest is left alone.

    Args:
        digest: of what the case is prepared from.

    Raises:
        VolumeError: as in `prepare`.
        OutputError: if it cannot be written.
    """
    target = folder / case.name
    if target.is_dir():
        if _written_digest(target) == digest:
            return
        shutil.rmtree(target, ignore_errors=True)
    prepared = prepare(read_case(case), specification)
    arrays = {_ARRAY: prepared.array, _MATRIX: prepared.grid.matrix, **make_reference(case, prepared.grid)}
    make_folder(folder)
    with atomic_folder(target) as partial:
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
            if not np.array_equal(np.load(partial / f"{name}.npy", mmap_mode="r"), array):
                raise OSError(errno.EIO, "what was read back differs")
        (partial / _DIGEST).write_text(digest, encoding="ascii")


def open_case(folder: Path, name: str) -> PreparedCase:
    """Return a case that `prepare_case` wrote; its voxels are read as they are used."""
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted((folder / name).glob("*.npy"))}
    array, matrix = arrays.pop(_ARRAY), np.array(arrays.pop(_MATRIX))
    return PreparedCase(name, array, Grid(array.shape[1:], matrix), arrays)


def _written_digest(folder: Path) -> str | None:
    """Return the digest that a case was prepared with, None where version 0.1 prepared it."""
    path = folder / _DIGEST
    return read_text(path, _LONGEST_DIGEST, OutputError) if path.is_file() else None
