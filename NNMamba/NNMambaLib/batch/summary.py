"""What a batch has come to: by what stands on disk, whoever did it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from NNMambaLib.batch.plan import CASES_FOLDER, Case, Plan
from NNMambaLib.batch.record import State, edited_outputs, read_record, state_of
from NNMambaLib.batch.report_page import REPORT_FILE, report_page
from NNMambaLib.files import files_together, write_json, write_text
from NNMambaLib.inference.tasks import task_named
from NNMambaLib.results import RESEARCH_USE

SUMMARY_FILES = ("summary.csv", "summary.json", REPORT_FILE)


def audit(plan: Plan, cases: Sequence[Case]) -> dict[str, Any]:
    """Return what is done, failed, missing, changed, edited since and stray; nothing is touched.

    Returns:
        ``counts`` by state; ``cases``: {case: {state, reason}} of those that are not done; ``edited``: files of cases
        that are done that are not as they were written; ``stray``: files in the output that belong to no case.
    """
    states = {case.name: state_of(plan, case) for case in cases}
    counts = Counter(state.value for state, _ in states.values())
    edited = [path for name, (state, _) in states.items() if state is State.DONE for path in edited_outputs(plan, name)]
    return {
        "counts": {state.value: counts[state.value] for state in State},
        "cases": {
            name: {"state": state.value, "reason": reason}
            for name, (state, reason) in states.items()
            if state is not State.DONE
        },
        "edited": edited,
        "stray": _stray(plan, states.keys()),
    }


def write_summary(plan: Plan, cases: Sequence[Case]) -> list[str]:
    """Write a table with a row a case, the same for programs, and a page to look at; return the paths."""
    rows = [_row(plan, case) for case in cases]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    paths = [str(Path(plan.output) / name) for name in SUMMARY_FILES]
    content = {"research_use": RESEARCH_USE, "settings": plan.settings(), "cases": rows}
    with files_together():
        write_text(table.getvalue(), paths[0])
        write_json(content, paths[1])
        write_text(report_page(plan, rows), paths[2])
    return paths


def _row(plan: Plan, case: Case) -> dict[str, Any]:
    state, reason = state_of(plan, case)
    row: dict[str, Any] = {"case": case.name, "status": state.value, "error": reason, "notices": "", "doubt": None}
    record = read_record(plan, case.name) if state is State.DONE else None
    notices, doubts = [], []
    for name, report in (record or {}).get("results", {}).items():
        prefix = f"{name} " if name else ""
        row |= {prefix + column: value for column, value in task_named(report["task"]).columns(report).items()}
        notices += report["provenance"]["notices"]
        doubts += [doubt for doubt in [task_named(report["task"]).doubt(report)] if doubt is not None]
    row |= {"notices": " ".join(notices), "doubt": max(doubts, default=None)}
    return row


def _stray(plan: Plan, names) -> list[str]:
    output = Path(plan.output)
    expected = {path for name in names for path in plan.output_paths(name)} | set(SUMMARY_FILES)
    found = (path for path in output.rglob("*") if path.is_file())
    relative = (path.relative_to(output) for path in found)
    return sorted(
        path.as_posix()
        for path in relative
        if path.as_posix() not in expected and not (path.parts[0] == CASES_FOLDER and path.parts[1] in names)
    )
