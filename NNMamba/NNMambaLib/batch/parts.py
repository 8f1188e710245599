"""A part of a batch: one of several jobs of a cluster, each with other cases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from NNMambaLib.batch.plan import Case
from NNMambaLib.errors import OutputError

_MOST = 1_000_000


def part_of(cases: Sequence[Case], part: str | None, environment: Mapping[str, str] = os.environ) -> list[Case]:
    """Return the cases of a part, ``I/N`` with I from 1 to N; without one, of this job of a Slurm or SGE array.

    Raises:
        OutputError: if the part is not one, or a PBS array's size is not known.
    """
    index, count = _parsed(part) if part else _of_array(environment)
    return list(cases[index - 1 :: count])


def _parsed(part: str) -> tuple[int, int]:
    numbers = part.split("/")
    if len(numbers) == 2 and all(number.isdecimal() and len(number) < 8 for number in numbers):
        index, count = map(int, numbers)
        if 1 <= index <= count <= _MOST:
            return index, count
    raise OutputError(f"The part '{part}' is not one: give I/N, with I from 1 to N, such as 3/10.")


def _of_array(environment: Mapping[str, str]) -> tuple[int, int]:
    for index, first, last, step in (
        ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"),
        ("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    ):
        # SGE says "undefined" outside of arrays.
        values = [environment.get(name, "") for name in (index, first, last)]
        if all(value.isdecimal() for value in values):
            at, low, high = map(int, values)
            each = int(environment.get(step) or 1)
            return _parsed(f"{(at - low) // each + 1}/{(high - low) // each + 1}")
    if environment.get("PBS_ARRAY_INDEX"):
        raise OutputError(
            "PBS does not say how many jobs its array has: give --part $PBS_ARRAY_INDEX/N (counted from 1)."
        )
    return 1, 1
