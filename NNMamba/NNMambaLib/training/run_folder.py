"""The output folder of a training: what is in it, and whether a run there may be resumed."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from NNMambaLib.errors import OutputError
from NNMambaLib.files import files_together, make_folder, write_json
from NNMambaLib.models.package import TRAINED_FOLDER, TRAINING_FILE
from NNMambaLib.models.zip_files import MANIFEST_FILE
from NNMambaLib.plain_files import MAX_JSON_BYTES, read_text
from NNMambaLib.runtime.units import format_names
from NNMambaLib.strict_json import parse_json
from NNMambaLib.training.configuration import Configuration, ResolvedConfiguration, as_json
from NNMambaLib.training.data.sources import Sources
from NNMambaLib.training.data.subjects import Split


class RunFolder:
    """The paths within the output folder, which `run.json` marks as one and where it records what was asked for."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._record = self.path / TRAINING_FILE
        self.configuration = self.path / "configuration.json"
        self.split = self.path / "split.json"
        self.prepared = self.path / "prepared"
        self.checkpoint = self.path / "checkpoint.pt"
        self.curves_table = self.path / "curves.csv"
        self.curves_picture = self.path / "curves.png"
        self.validation_picture = self.path / "validation.png"
        self.model = self.path / TRAINED_FOLDER
        self._sources = self.path / "sources.json"

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether the model package is complete; it is written last, and its manifest last of all."""
        return (self.model / MANIFEST_FILE).is_file()

    @property
    def outputs(self) -> tuple[Path, ...]:
        files = (self.configuration, self.split, self.curves_table, self.curves_picture, self.validation_picture)
        return (self.model, *(path for path in files if path.exists()))

    def check(self, task: str, given: Configuration, overwrite: bool) -> None:
        """Make sure that the folder holds no run, or the one that is asked for.

        Args:
            overwrite: remove a run that the folder holds.

        Raises:
            OutputError: if the folder holds other things, or a run with another task or configuration.
        """
        try:
            recorded = self._record.is_file()
            # Files within it have names of up to this many characters more.
            (self.path / "prepared").exists()
        except OSError as error:
            raise OutputError(f"{self.path} cannot be used ({error.strerror}): choose another name.") from error
        if not recorded:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise OutputError(f"{self.path} is not empty and holds no training: choose another folder.")
        elif overwrite:
            self._clear()
        else:
            self._require(_read(self._record), {"task": task, **as_json(given)})

    def settle(self, task: str, given: Configuration, resolved: ResolvedConfiguration, split: Split) -> None:
        """Record the configuration, as given and as resolved, and the split, or make sure that they are as recorded.

        Raises:
            OutputError: if they differ, as the data have changed.
        """
        make_folder(self.path)
        with files_together():
            if not self._record.is_file():
                write_json({"task": task, **as_json(given)}, self._record)
            for path, content in ((self.configuration, as_json(resolved)), (self.split, asdict(split))):
                content = json.loads(json.dumps(content))
                if not path.is_file():
                    write_json(content, path)
                elif _read(path) != content:
                    raise OutputError(
                        f"The data have changed since the training in {self.path} began ({path.name} would differ): "
                        "choose another folder, or start again (--overwrite)."
                    )

    def changes(self, sources: Sources) -> tuple[str, ...]:
        """Return a notice on sources that have changed since they were recorded, none where none have.

        Raises:
            OutputError: if steps were trained to give outputs other names.
        """
        if not self._sources.is_file():
            return ()
        names, cases = sources.changed_since(_read(self._sources))
        if not names and not cases:
            return ()
        what = format_names([f"the {kind}" for kind in names] + cases)
        changed = f"data have changed since the training in {self.path} began ({what})"
        if self.finished:
            return (f"the {changed}: its model is of the data as they were, and --overwrite trains on the new",)
        if not self.checkpoint.is_file():
            return (f"the {changed}: they are prepared anew",)
        if names:
            raise OutputError(f"The {changed}: choose another folder, or start again (--overwrite).")
        return (
            f"the {changed}: they are prepared anew, and the steps done were trained on what they were, "
            "unless you start again (--overwrite)",
        )

    def record_sources(self, sources: Sources) -> None:
        """Record what the cases are prepared from, once the user knows what has changed."""
        write_json(sources.as_json(), self._sources)

    def remove_prepared(self) -> None:
        """Remove the prepared cases, which only training needs."""
        shutil.rmtree(self.prepared, ignore_errors=True)

    def _require(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        for key in {**wanted, **found}:
            if found.get(key) != wanted.get(key):
                raise OutputError(
                    f"{self.path} holds a training with {key} {json.dumps(found.get(key))}, not "
                    f"{json.dumps(wanted.get(key))}: choose another folder, or start again (--overwrite)."
                )

    def _clear(self) -> None:
        """Remove the files that a training writes, and nothing else."""
        for folder in (self.model, self.prepared):
            shutil.rmtree(folder, ignore_errors=True)
        for path in (
            self.configuration, self.split, self.checkpoint, self.curves_table, self.curves_picture,
            self.validation_picture, self._sources, self._record,
        ):  # fmt: skip
            path.unlink(missing_ok=True)


def _read(path: Path) -> Any:
    try:
        return parse_json(read_text(path, MAX_JSON_BYTES, OutputError))
    except ValueError as error:
        raise OutputError(f"{path} is damaged ({error}): start again (--overwrite).") from error
