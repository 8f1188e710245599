"""Who is on a volume, and the split into training and validation that keeps a person on one side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.cases import case_rows
from NNMambaLib.training.data.case import Case

PERSONS_FILE = "persons.csv"


@dataclass(frozen=True)
class Split:
    """Names of the cases on either side."""

    training: tuple[str, ...]
    validation: tuple[str, ...]


def read_persons(folder: Path, cases: Iterable[str]) -> dict[str, str]:
    """Return {case: person} by the folder's ``persons.csv``; without that file each case is a person of its own.

    Raises:
        VolumeError: if the file lacks a column, a case or a person, or names a case that is not there.
    """
    path, cases = folder / PERSONS_FILE, list(cases)
    if not path.exists():
        return {case: case for case in cases}
    rows = case_rows(path)
    unknown = sorted(set(rows) - set(cases))
    if unknown:
        raise VolumeError(f"{path} names the case '{unknown[0]}', which is not in the folder: remove its row.")
    for case in cases:
        if not rows.get(case, {}).get("person"):
            raise VolumeError(f"{path} has no person for the case '{case}': add a row case,person.")
    return {case: rows[case]["person"] for case in cases}


def split_by_person(
    cases: Sequence[Case], fraction: float, seed: int, needed: Mapping[str, Iterable[Hashable]] | None = None
) -> Split:
    """Return a random split by person.

    Args:
        fraction: of the persons, for validation: at least one, unless it is 0.
        needed: what each case shows that training must keep, such as its classes; who alone shows it, stays there.

    Raises:
        VolumeError: if nobody can be spared for validation.
    """
    persons = sorted({case.person for case in cases})
    shown = {person: set() for person in persons}
    for case in cases:
        shown[case.person].update((needed or {}).get(case.name, ()))
    left = Counter(item for items in shown.values() for item in items)
    wanted = max(1, round(fraction * len(persons))) if fraction > 0 else 0
    validation: set[str] = set()
    for index in np.random.default_rng(seed).permutation(len(persons)):
        person = persons[index]
        spared = len(validation) < len(persons) - 1 and all(left[item] > 1 for item in shown[person])
        if len(validation) < wanted and spared:
            validation.add(person)
            left.subtract(shown[person])
    if wanted and not validation:
        raise VolumeError(
            f"Nobody of the {len(persons)} persons can be spared for validation: add cases, or set "
            "validation_fraction to 0."
        )
    return Split(
        tuple(sorted(case.name for case in cases if case.person not in validation)),
        tuple(sorted(case.name for case in cases if case.person in validation)),
    )
