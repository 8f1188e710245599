"""Subjects, and the split into training and validation that keeps each of them on one side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.cases import case_rows, refuse_file_names
from NNMambaLib.training.data.case import Case

SUBJECTS_FILE = "subjects.csv"
# The file and the column as version 0.1 named them.
FORMER_SUBJECTS_FILE, _FORMER_COLUMN = "persons.csv", "person"


@dataclass(frozen=True)
class Split:
    """Names of the cases on either side."""

    training: tuple[str, ...]
    validation: tuple[str, ...]


def read_subjects(folder: Path, cases: Iterable[str]) -> dict[str, str]:
    """Return {case: subject} by the folder's ``subjects.csv``; without that file each case is a subject of its own.

    Raises:
        VolumeError: if the file lacks a column, a case or a subject, or names a case that is not there.
    """
    path, column, cases = folder / SUBJECTS_FILE, "subject", list(cases)
    if not path.exists():
        path, column = folder / FORMER_SUBJECTS_FILE, _FORMER_COLUMN
    if not path.exists():
        return {case: case for case in cases}
    rows = case_rows(path)
    refuse_file_names(rows, cases, path)
    unknown = sorted(set(rows) - set(cases))
    if unknown:
        raise VolumeError(f"{path} names the case '{unknown[0]}', which is not in the folder: remove its row.")
    for case in cases:
        if not rows.get(case, {}).get(column):
            raise VolumeError(f"{path} has no {column} for the case '{case}': add a row case,{column}.")
    return {case: rows[case][column] for case in cases}


def split_by_subject(
    cases: Sequence[Case], fraction: float, seed: int, needed: Mapping[str, Iterable[Hashable]] | None = None
) -> Split:
    """Return a random split by subject.

    Args:
        fraction: of the subjects, for validation: at least one, unless it is 0.
        needed: what each case shows and training must keep, such as its classes; a subject that alone shows something
            stays in training.

    Raises:
        VolumeError: if no subject can be spared for validation.
    """
    subjects = sorted({case.subject for case in cases})
    shown = {subject: set() for subject in subjects}
    for case in cases:
        shown[case.subject].update((needed or {}).get(case.name, ()))
    left = Counter(item for items in shown.values() for item in items)
    wanted = max(1, round(fraction * len(subjects))) if fraction > 0 else 0
    validation: set[str] = set()
    for index in np.random.default_rng(seed).permutation(len(subjects)):
        subject = subjects[index]
        spared = len(validation) < len(subjects) - 1 and all(left[item] > 1 for item in shown[subject])
        if len(validation) < wanted and spared:
            validation.add(subject)
            left.subtract(shown[subject])
    if wanted and not validation:
        raise VolumeError(
            f"None of the {len(subjects)} subjects can be spared for validation: add cases, or set "
            "validation_fraction to 0."
        )
    return Split(
        tuple(sorted(case.name for case in cases if case.subject not in validation)),
        tuple(sorted(case.name for case in cases if case.subject in validation)),
    )
