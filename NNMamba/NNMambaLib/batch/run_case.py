"""One case from input to record: the same code in a batch's processes, in one of the caller, and on a cluster."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from NNMambaLib import __version__
from NNMambaLib.batch.plan import Case, Plan
from NNMambaLib.batch.record import (
    RECORD_FILE,
    THUMBNAIL_FILE,
    State,
    add_to_log,
    check_untouched,
    edited_outputs,
    file_state,
    read_record,
    state_of,
)
from NNMambaLib.errors import NNMambaError, OutputError
from NNMambaLib.export.thumbnail import jpeg
from NNMambaLib.file_placement import put_in_place, temporary_name
from NNMambaLib.files import make_folder, write_json
from NNMambaLib.inference.tasks import task_named
from NNMambaLib.runtime.leftovers import remove_leftovers
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.volume import Volume

LOCK_FILE = "lock"
BEFORE, ELSEWHERE = "before", "elsewhere"
"""Outcomes of cases that another batch has done already, or is at."""


@dataclass
class Outcome:
    """How a case ended: ``done`` or ``failed`` here, or `BEFORE` or `ELSEWHERE`; and why it failed."""

    case: str
    status: str
    error: str | None = None


@dataclass
class OpenCase:
    """A case on its way.

    Attributes:
        ended: its outcome, once that is known; the stages that follow do nothing.
        seconds: by stage.
    """

    case: Case
    lock: FileLock
    ended: Outcome | None = None
    volumes: list[Volume] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class CaseRunner:
    """Runs the cases of a plan in three stages, which may belong to three threads, each for another case.

    Args:
        plan: with its models, see `Plan.with_models`.
    """

    def __init__(self, plan: Plan):
        from NNMambaLib.engine import Engine

        self._plan = plan
        self._engine = Engine(plan.device, plan.backend, plan.memory_limit, plan.precision)

    def run(self, case: Case) -> Outcome:
        """Run a case from beginning to end."""
        opened = self.read(case)
        self.compute(opened)
        return self.write(opened)

    def read(self, case: Case) -> OpenCase:
        """Take a case's lock and read its volumes."""
        opened = _opened(self._plan, case)
        self._stage(opened, "read", self._read)
        return opened

    def compute(self, opened: OpenCase) -> None:
        """Run the steps' models on a case that was read."""
        self._stage(opened, "compute", self._compute)

    def write(self, opened: OpenCase) -> Outcome:
        """Put a case's files and its record in place, or the record of its failure; give back its lock."""
        try:
            self._stage(opened, "write", self._write)
            ended = opened.ended or Outcome(opened.case.name, State.DONE.value)
            if ended.status == State.FAILED.value:
                _record_failure(self._plan, opened, ended)
            return ended
        finally:
            opened.lock.release()

    def _stage(self, opened: OpenCase, name: str, work: Callable[[OpenCase], None]) -> None:
        """Do a stage's work unless the case has ended; whatever goes wrong in it is the case's outcome."""
        if opened.ended is not None:
            return
        begun = time.monotonic()
        try:
            work(opened)
        except NNMambaError as error:
            opened.ended = Outcome(opened.case.name, State.FAILED.value, str(error))
        except OSError as error:
            message = (
                f"{error.filename or self._plan.output}: {error.strerror}. Check the disk's space and permissions."
            )
            opened.ended = Outcome(opened.case.name, State.FAILED.value, message)
        except Exception as error:
            # A fault of ours, or a library's: it is this case's alone.
            with suppress(OSError):
                add_to_log(self._plan, opened.case.name, *traceback.format_exc().splitlines())
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            message = f"The engine met an error that it did not expect ({reason}): please report it."
            opened.ended = Outcome(opened.case.name, State.FAILED.value, message)
        opened.seconds[name] = round(time.monotonic() - begun, 3)

    def _read(self, opened: OpenCase) -> None:
        case = opened.case
        make_folder(self._plan.case_folder(case.name))
        try:
            opened.lock.acquire(blocking=False)
        except Timeout:
            opened.ended = Outcome(case.name, ELSEWHERE)
            return
        if state_of(self._plan, case)[0] is State.DONE:
            opened.ended = Outcome(case.name, BEFORE)
            return
        remove_leftovers(self._plan.case_folder(case.name))
        add_to_log(self._plan, case.name, "begins")
        edited = [] if self._plan.overwrite else edited_outputs(self._plan, case.name)
        if edited:
            raise OutputError(
                f"{', '.join(edited)} was not written by this batch, or was edited since, and is kept: move it away, "
                "or allow it to be overwritten (--overwrite)."
            )
        for path in case.channels:
            opened.inputs.append(file_state(path))
            opened.volumes.append(read_volume(path, check=False))
            check_untouched(opened.inputs[-1], path)

    def _compute(self, opened: OpenCase) -> None:
        for step in self._plan.steps:
            opened.results.append(self._engine.run(step.task, opened.volumes, step.model, **step.options))

    def _write(self, opened: OpenCase) -> None:
        name = opened.case.name
        staging = temporary_name(self._plan.case_folder(name) / "files")
        try:
            files, reports = self._staged(opened, staging)
            outputs = [
                {**file_state(temporary), "path": path.relative_to(self._plan.output).as_posix()}
                for temporary, path in files
            ]
            record = _record(self._plan, opened, State.DONE, None) | {"outputs": outputs, "results": reports}
            write_json(record, staging / RECORD_FILE)
            picture = task_named(self._plan.steps[0].task).thumbnail(opened.results[0], opened.volumes[0])
            (staging / THUMBNAIL_FILE).write_bytes(jpeg(picture))
            # If this process is killed between the files and the record, they are known by these lines.
            add_to_log(self._plan, name, *(f"places {entry['path']} {entry['sha256']}" for entry in outputs))
            # The record is the last: a case is done when it is there.
            folder = self._plan.case_folder(name)
            put_in_place([*files, *((staging / name, folder / name) for name in (THUMBNAIL_FILE, RECORD_FILE))])
            add_to_log(self._plan, name, "done")
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _staged(self, opened: OpenCase, staging: Path) -> tuple[list[tuple[Path, Path]], dict[str, Any]]:
        """Write a case's files to a folder beside their places; return (there, place) of each, and the reports."""
        output = Path(self._plan.output)
        files, reports = [], {}
        for step, result in zip(self._plan.steps, opened.results, strict=True):
            task, paths = task_named(step.task), step.paths(opened.case.name)
            for path in paths.values():
                make_folder((staging / path).parent)
                make_folder((output / path).parent)
            notices = task.write(result, {kind: staging / path for kind, path in paths.items()}, opened.volumes[0])
            provenance = result.provenance.as_dict()
            provenance["notices"] = [*provenance["notices"], *notices]
            reports[step.name] = {"task": step.task, **task.report(result), "provenance": provenance}
            files += [(staging / path, output / path) for path in paths.values()]
        return files, reports


def failed_by_death(plan: Plan, case: Case, error: str) -> Outcome:
    """Record that a case's process died; for the process that watched it."""
    outcome = Outcome(case.name, State.FAILED.value, error)
    _record_failure(plan, _opened(plan, case), outcome)
    return outcome


def _opened(plan: Plan, case: Case) -> OpenCase:
    return OpenCase(case, FileLock(plan.case_folder(case.name) / LOCK_FILE, thread_local=False))


def _record_failure(plan: Plan, opened: OpenCase, outcome: Outcome) -> None:
    """Record that a case failed; where even that cannot be written, its error says so."""
    earlier = read_record(plan, opened.case.name)
    record = _record(plan, opened, State.FAILED, outcome.error)
    # What an earlier run wrote stays, and is known as such.
    record |= {"outputs": earlier["outputs"] if earlier else [], "results": {}}
    try:
        write_json(record, make_folder(plan.case_folder(opened.case.name)) / RECORD_FILE)
        add_to_log(plan, opened.case.name, f"failed: {outcome.error}")
    except (NNMambaError, OSError) as error:
        outcome.error = f"{outcome.error} Its record could not be written either: {error}"


def _record(plan: Plan, opened: OpenCase, state: State, error: str | None) -> dict[str, Any]:
    return {
        "case": opened.case.name,
        "status": state.value,
        "error": error,
        "inputs": opened.inputs,
        "settings": plan.settings(),
        "settings_sha256": plan.settings_digest(),
        "started": opened.started,
        "seconds": opened.seconds,
        "engine_version": __version__,
    }
