"""The client's private folder for voxels and the worker's log, which survives clean-ups and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from NNMambaLib.errors import OutputError
from NNMambaLib.runtime.leftovers import PLAIN, remove_leftovers, temporary_prefix
from NNMambaLib.worker.process import LOG_FILE


class PrivateFolder:
    """A folder that only this process hands voxels over in; there is none until `make`.

    Args:
        parent: where it is made; None takes the system's folder for temporary files.
    """

    def __init__(self, parent: str | Path | None = None):
        self._parent = parent
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        assert self._path is not None, "the folder is made when the process starts"
        return self._path

    def of_job(self, number: str) -> Path:
        """Return where a job's files are."""
        return self.path / f"job-{number}"

    def make(self) -> None:
        """Make the folder anew, once those are removed that killed processes left beside it.

        Raises:
            OutputError: if it cannot be made.
        """
        self.remove()
        try:
            parent = Path(self._parent or tempfile.gettempdir())
            remove_leftovers(parent, PLAIN)
            self._path = Path(tempfile.mkdtemp(prefix=temporary_prefix(PLAIN), dir=parent))
        except OSError as error:
            raise _unusable(self._parent or "for temporary files", error) from error

    def restore(self) -> None:
        """Make the folder again where a clean-up of the system has removed it: the process still uses it.

        Raises:
            OutputError: if it cannot be made.
        """
        if self._path is not None and not self._path.is_dir():
            try:
                self._path.mkdir(0o700)
            except OSError as error:
                raise _unusable(self._path.parent, error) from error

    def remove_job(self, number: str) -> None:
        """Remove a job's files, if there are any."""
        if self._path is not None:
            shutil.rmtree(self.of_job(number), ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder, if there is one."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None

    def log(self) -> str:
        """Return what the worker in this folder has printed; empty where there is none."""
        if self._path is None:
            return ""
        try:
            return (self._path / LOG_FILE).read_text(errors="replace")
        except OSError:
            return ""


def _unusable(folder: str | Path, error: OSError) -> OutputError:
    return OutputError(
        f"The folder {folder} cannot be used to hand voxels over ({error.strerror}): create it, or set "
        f"{'TEMP' if os.name == 'nt' else 'TMPDIR'} to another."
    )
