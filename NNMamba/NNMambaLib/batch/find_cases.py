"""Which cases the inputs of a batch are: folders, patterns, a table, or a tree of DICOM series."""

from __future__ import annotations

import csv
import glob
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from NNMambaLib.batch.plan import Case, check_case_name
from NNMambaLib.errors import VolumeError
from NNMambaLib.file_names import check_name, check_names_within
from NNMambaLib.plain_files import MAX_TABLE_BYTES, read_text
from NNMambaLib.volumes.files import READABLE

# The end of a file's name that says which channel it is, as nnU-Net has it.
_CHANNEL = re.compile(r"_(\d{4})$")
_MAX_CASES = 1_000_000


def find_cases(inputs: Sequence[str], channels: int) -> list[Case]:
    """Return the cases of all inputs, in the order of their names.

    An input is a volume, a folder of volumes (and of folders with one DICOM series each), a pattern of such, or a table
    ``.csv`` with a column ``case`` and one a channel; its paths are relative to the table. In a folder all of whose
    volumes end in ``_0000``, ``_0001``, ..., those that differ in that alone are the channels of one case.

    Args:
        channels: that each case must have.

    Raises:
        VolumeError: if there is none, two have the same name, or one has another number of channels.
    """
    cases: dict[str, tuple[Case, str]] = {}
    for given in inputs:
        for name, paths in _cases_of(given):
            check_case_name(name, given)
            if name in cases:
                raise VolumeError(
                    f"Two cases are called {name} (in {cases[name][1]} and in {given}): rename one, or give a table "
                    "(case,channel) that names them."
                )
            if len(paths) != channels:
                raise VolumeError(
                    f"The case {name} has {len(paths)} volume{'s' if len(paths) > 1 else ''} and the model takes "
                    f"{channels}: give CASE_0000, CASE_0001, ... or a table with {channels} columns beside the case."
                )
            cases[name] = Case(name, tuple(str(path.absolute()) for path in paths)), given
            if len(cases) > _MAX_CASES:
                raise VolumeError(f"There are more than {_MAX_CASES:,} cases: run them in several batches.")
    if not cases:
        raise VolumeError(f"There are no volumes in {', '.join(inputs)}: give files that end in {', '.join(READABLE)}.")
    return [cases[name][0] for name in sorted(cases)]


def _cases_of(given: str) -> Iterator[tuple[str, list[Path]]]:
    check_name(given, VolumeError)
    path = Path(given)
    if path.is_dir():
        check_names_within(path, VolumeError)
        yield from _cases_in(path)
    elif path.suffix.lower() == ".csv" and path.exists():
        yield from _cases_of_table(path)
    elif path.exists():
        yield from _grouped([path])
    else:
        found = sorted(Path(name) for name in glob.glob(given, recursive=True))
        if not found:
            raise VolumeError(f"There is no {given}: check the path, or the pattern.")
        files = [entry for entry in found if not entry.is_dir()]
        yield from _grouped([file for file in files if _is_volume(file)])
        for folder in (entry for entry in found if entry.is_dir()):
            yield from _cases_in(folder)


def _cases_in(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield the cases of a folder; one without volumes or folders is a DICOM series itself."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    volumes = [entry for entry in entries if _is_volume(entry)]
    if volumes:
        yield from _grouped(volumes)
        return
    folders = [entry for entry in entries if entry.is_dir()]
    for below in folders:
        yield from _cases_in(below)
    if any(entry.is_file() for entry in entries) and not folders:
        yield folder.name, [folder]


def _is_volume(path: Path) -> bool:
    # What macOS notes beside a file is not one.
    return path.is_file() and path.name.lower().endswith(READABLE) and not path.name.startswith("._")


def _grouped(files: list[Path]) -> Iterator[tuple[str, list[Path]]]:
    stems = {file: _stem(file) for file in files}
    if not all(_CHANNEL.search(stem) for stem in stems.values()):
        yield from ((stem, [file]) for file, stem in stems.items())
        return
    groups: dict[str, dict[int, Path]] = {}
    for file, stem in stems.items():
        channel = int(stem[-4:])
        group = groups.setdefault(stem[:-5], {})
        if channel in group:
            raise VolumeError(f"{file} and {group[channel]} are the same channel of one case: remove one.")
        group[channel] = file
    for name, group in groups.items():
        if sorted(group) != list(range(len(group))):
            present = ", ".join(f"{number:04d}" for number in sorted(group))
            raise VolumeError(f"The case {name} has the channels {present} alone: number them from 0000.")
        yield name, [group[channel] for channel in sorted(group)]


def _stem(path: Path) -> str:
    ending = max((ending for ending in READABLE if path.name.lower().endswith(ending)), key=len, default="")
    return path.name[: len(path.name) - len(ending)]


def _cases_of_table(path: Path) -> Iterator[tuple[str, list[Path]]]:
    text = read_text(path, MAX_TABLE_BYTES)
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if not header or header[0] != "case" or len(header) < 2:
        separator = " It seems to be separated by semicolons: save it with commas." if ";" in text[:1000] else ""
        raise VolumeError(f"{path} needs the columns case and one for each channel, separated by commas.{separator}")
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if len(cells) != len(header) or not all(cells):
            raise VolumeError(f"{path} has {len(header)} columns and row {number} does not fill them: complete it.")
        yield cells[0], [path.parent / cell for cell in cells[1:]]
