"""What stands on disk about a case: its record, ``case.json``, which is true only with the files that it names."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from NNMambaLib.batch.plan import Case, Plan
from NNMambaLib.errors import NNMambaError, VolumeError
from NNMambaLib.plain_files import MAX_JSON_BYTES, check_plain, read_text
from NNMambaLib.strict_json import parse_json

RECORD_FILE, LOG_FILE, THUMBNAIL_FILE = "case.json", "case.log", "thumbnail.jpg"

# A file that was changed within this time of being looked at may change again without a newer time stamp.
_RECENT_NS = 2 * 10**9


class State(Enum):
    """Of a case, by what is on disk."""

    DONE = "done"
    FAILED = "failed"
    MISSING = "missing"
    CHANGED = "changed"


def file_state(path: str | Path) -> dict[str, Any]:
    """Return what tells whether a file, or a folder's files, changed: path, bytes, modification time and SHA-256.

    Raises:
        VolumeError: if it is missing, cannot be read, or changes while it is read.
    """
    path = Path(path)
    state = {"path": str(path), **_stamp(path), "sha256": _digest(path)}
    check_untouched(state, path)
    return state


def check_untouched(known: Mapping[str, Any], path: str | Path) -> None:
    """Check by size and time that a file is as it was.

    Raises:
        VolumeError: if it is not.
    """
    found = _stamp(Path(path))
    if (found["bytes"], found["modified_ns"]) != (known["bytes"], known["modified_ns"]):
        raise VolumeError(f"{path} changed while it was read: run the batch again once it is complete.")


def is_unchanged(known: Mapping[str, Any], path: str | Path) -> bool:
    """Return whether a file is the one whose state is known; it is read only where size and time do not tell."""
    try:
        found = _stamp(Path(path))
        if found["bytes"] != known.get("bytes"):
            return False
        recent = known.get("looked_ns", 0) - found["modified_ns"] < _RECENT_NS
        if found["modified_ns"] == known.get("modified_ns") and not recent:
            return True
        return _digest(Path(path)) == known.get("sha256")
    except VolumeError:
        return False


def read_record(plan: Plan, name: str) -> dict[str, Any] | None:
    """Return a case's record; None where there is none, or what is there is not one."""
    path = plan.case_folder(name) / RECORD_FILE
    if not path.is_file():
        return None
    try:
        record = parse_json(read_text(path, MAX_JSON_BYTES))
    except (NNMambaError, ValueError):
        return None
    right = isinstance(record, dict) and record.get("case") == name and isinstance(record.get("outputs"), list)
    return record if right and isinstance(record.get("inputs"), list) else None


def state_of(plan: Plan, case: Case) -> tuple[State, str]:
    """Return a case's state, and why it is not done."""
    record = read_record(plan, case.name)
    if record is None:
        return State.MISSING, "it has no record"
    if record.get("settings_sha256") != plan.settings_digest():
        return State.CHANGED, "the model or the settings differ"
    if record.get("status") != State.DONE.value:
        return State.FAILED, str(record.get("error"))
    known = record["inputs"]
    if len(known) != len(case.channels) or not all(map(is_unchanged, known, case.channels)):
        return State.CHANGED, "the input differs"
    lost = [output["path"] for output in record["outputs"] if not (Path(plan.output) / output["path"]).is_file()]
    if lost or sorted(output["path"] for output in record["outputs"]) != sorted(plan.output_paths(case.name)):
        return State.MISSING, f"{', '.join(lost) or 'a file'} is missing"
    return State.DONE, ""


def edited_outputs(plan: Plan, name: str) -> list[str]:
    """Return those files of a case that are on disk and not as a batch wrote them, by path below the output."""
    record = read_record(plan, name)
    written = {output["sha256"] for output in record["outputs"]} if record else set()
    # A batch that was killed between the files and the record has noted here what it was about to place.
    written |= {
        words[-1] for words in map(str.split, _log_lines(plan, name)) if len(words) > 2 and words[1] == "places"
    }
    return [
        path
        for path in plan.output_paths(name)
        if (Path(plan.output) / path).exists() and _digest(Path(plan.output) / path) not in written
    ]


def add_to_log(plan: Plan, name: str, *lines: str) -> None:
    """Append lines to a case's log, each with the time (UTC)."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    text = "".join(f"{now} {line}\n" for line in lines)
    with (plan.case_folder(name) / LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()


def _log_lines(plan: Plan, name: str) -> Sequence[str]:
    path = plan.case_folder(name) / LOG_FILE
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ()


def _stamp(path: Path) -> dict[str, Any]:
    try:
        files = [path] if not path.is_dir() else _files(path)
        stats = [file.stat() for file in files]
    except OSError as error:
        raise VolumeError(f"{path} cannot be opened ({error.strerror}): check its name and permissions.") from error
    return {
        "bytes": sum(stat.st_size for stat in stats),
        "modified_ns": max((stat.st_mtime_ns for stat in stats), default=0),
        "looked_ns": time.time_ns(),
    }


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or that of a folder's sorted names and contents."""
    try:
        if not path.is_dir():
            check_plain(path)
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        whole = [[file.relative_to(path).as_posix(), _digest(file)] for file in _files(path)]
    except OSError as error:
        raise VolumeError(f"{path} cannot be read ({error.strerror}): check its name and permissions.") from error
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
