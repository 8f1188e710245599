"""Reading a folder of volumes with a table of their classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.cases import case_files, case_rows, refuse_file_names
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.faults import Faults
from NNMambaLib.training.data.subjects import FORMER_SUBJECTS_FILE, SUBJECTS_FILE, read_subjects
from NNMambaLib.volumes.files import READABLE

UNKNOWN = -1
# Numbers that are taken for classes: more are a quantity.
_MOST_NUMBERS = 20


@dataclass(frozen=True)
class ClassesFolder:
    """Cases whose reference is the class index of each target, and {target: its classes in alphabetical order}."""

    cases: tuple[Case, ...]
    targets: dict[str, tuple[str, ...]]


def read_classes_folder(folder: Path) -> ClassesFolder:
    """Return the cases of a folder; no volume is opened. An empty cell of the table means that the class is unknown.

    Raises:
        VolumeError: if there are no cases, no table or several, a volume without a row or a row without a volume, or a
            class that only one case has.
    """
    volumes = case_files(folder, READABLE)
    tables = sorted(
        path
        for path in folder.glob("*.csv")
        if path.name not in (SUBJECTS_FILE, FORMER_SUBJECTS_FILE) and not path.name.startswith("._")
    )
    if len(tables) != 1:
        raise VolumeError(f"The folder {folder} holds {len(tables)} tables (CSV) of classes: keep one, case,class.")
    rows = case_rows(tables[0])
    refuse_file_names(rows, volumes, tables[0])
    faults = Faults()
    for case, path in volumes.items():
        if case not in rows:
            faults.add(f"{tables[0]} has no row for the volume {path.name}: add one, or remove the volume.")
    for case in rows:
        if case not in volumes:
            faults.add(f"{tables[0]} names the case '{case}', which has no volume: add it, or remove the row.")
    faults.refuse()
    columns = [column for column in next(iter(rows.values())) if column]
    if not columns:
        raise VolumeError(f"{tables[0]} has no column of classes beside 'case': add one, named class.")
    targets = {column: _classes(rows, column, tables[0]) for column in columns}
    subjects = read_subjects(folder, volumes)
    cases = tuple(
        Case(case, subjects[case], (path,), tuple(_index(rows[case][column], targets[column]) for column in columns))
        for case, path in volumes.items()
    )
    return ClassesFolder(cases, targets)


def _classes(rows: dict[str, dict[str, str]], column: str, table: Path) -> tuple[str, ...]:
    counts = Counter(row[column] for row in rows.values() if row[column])
    _refuse_quantity(counts, column, table)
    for name, count in counts.items():
        if count == 1:
            raise VolumeError(f"{table} has a single case of '{name}' in the column '{column}': give at least two.")
    if len(counts) < 2:
        raise VolumeError(f"{table} has {len(counts)} class in the column '{column}': give cases of at least two.")
    return tuple(sorted(counts))


def _refuse_quantity(counts: Mapping[str, int], column: str, table: Path) -> None:
    """Refuse numbers that are no classes: each belongs to few cases, such as an age."""
    numbers = [name for name in counts if _is_number(name)]
    rare = len(counts) > _MOST_NUMBERS or (len(counts) > 2 and min(counts.values()) == 1)
    if len(numbers) == len(counts) and rare:
        raise VolumeError(
            f"{table} has {len(counts)} different numbers in the column '{column}', such as {numbers[0]}, which are a "
            "quantity and not classes: remove the column, or write classes in their place, such as 'below 60'."
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _index(name: str | None, classes: tuple[str, ...]) -> int:
    return classes.index(name) if name else UNKNOWN
