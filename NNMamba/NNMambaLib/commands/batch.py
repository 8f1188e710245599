"""``nnmamba batch``: a model on many cases; what is done already is not done again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from NNMambaLib.commands.arguments import add_engine_arguments
from NNMambaLib.commands.console import print_table
from NNMambaLib.commands.run_model import add_option, task_options
from NNMambaLib.errors import BatchError
from NNMambaLib.files import make_folder
from NNMambaLib.inference.task import Task
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.results import RESEARCH_USE

# Seconds between lines of progress, and threads of a process where many cores are free.
_PAUSE, _MOST_THREADS = 5.0, 4


def add_parser(commands) -> None:
    """Add the command, with a command of its own for each task."""
    parser = commands.add_parser(
        "batch", help="run a model on many cases, and again only on what is missing or changed"
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    for task in TASKS.values():
        below = tasks.add_parser(task.command, help=task.summary.replace("a volume", "many volumes"))
        below.add_argument(
            "input",
            nargs="+",
            metavar="INPUT",
            help="volumes, folders of them (CASE_0000, CASE_0001, ... are one case's channels), patterns, folders with "
            "DICOM series, or a table .csv (case,channel,...)",
        )
        below.add_argument("--model", required=True, help="name of an installed model, or path of a package")
        below.add_argument("--output", required=True, metavar="DIR", help="folder for the results, made if need be")
        endings = task.files[0].endings
        default = ".nii.gz" if ".nii.gz" in endings else endings[0]
        below.add_argument("--format", choices=endings, default=default, help=f"of the results (default {default})")
        below.add_argument("--overwrite", action="store_true", help="also replace results that were edited since")
        below.add_argument("--workers", type=_count, metavar="N", help="processes (default: by cores and GPUs)")
        below.add_argument("--threads-per-worker", type=_count, metavar="N", help="of each process on the CPU")
        below.add_argument(
            "--part", metavar="I/N", help="only every Nth case from the Ith on (default: by Slurm or SGE)"
        )
        below.add_argument("--skip-failed", action="store_true", help="do not try again what failed before")
        below.add_argument("--audit", action="store_true", help="say what is done, failed, missing, changed or stray")
        add_engine_arguments(below)
        for option in task.options:
            add_option(below, option)
        for kind in task.files[1:]:
            below.add_argument(
                f"--{kind.name}", action="store_true", help=kind.help.replace("also write", "also write,")
            )
        below.set_defaults(run=partial(run, task), files=())


def run(task: Task[Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing or changed, or say what is; return the report.

    Raises:
        BatchError: if some cases failed, or nothing could run.
    """
    from NNMambaLib.batch.find_cases import find_cases
    from NNMambaLib.batch.parts import part_of
    from NNMambaLib.batch.record import State, state_of
    from NNMambaLib.batch.run_case import Outcome
    from NNMambaLib.batch.summary import audit, write_summary
    from NNMambaLib.batch.supervisor import run_cases

    plan = _plan(task, arguments)
    cases = find_cases(arguments.input, plan.channels())
    part = part_of(cases, arguments.part)
    if arguments.audit:
        found = audit(plan, cases)
        _print_audit(found)
        return found
    make_folder(plan.output)
    skipped = (State.DONE, State.FAILED) if arguments.skip_failed else (State.DONE,)
    states = {case.name: state_of(plan, case) for case in part}
    todo = [case for case in part if states[case.name][0] not in skipped]
    before = len(part) - len(todo)
    print(f"{len(part)} cases, {before} of them done before.", file=sys.stderr)
    progress = _Progress(len(todo))
    workers, threads, devices = _processes(arguments)
    failed: dict[str, str] = {}

    def ended(outcome: Outcome) -> None:
        if outcome.error is not None:
            failed[outcome.case] = outcome.error
            print(f"{outcome.case} failed: {outcome.error}", file=sys.stderr, flush=True)
        progress.step(len(failed))

    if todo:
        run_cases(_with_limit(plan, workers, devices), todo, workers, threads, devices, ended)
    # Of a part, the others may be at work: the table is written for all.
    outputs = write_summary(plan, cases) if len(part) == len(cases) else []
    failed |= {name: why for name, (state, why) in states.items() if state is State.FAILED and state in skipped}
    print(RESEARCH_USE)
    print(f"{len(part) - len(failed)} of {len(part)} cases are done, {len(failed)} failed: {plan.output}")
    report = {
        "cases": len(part),
        "done": len(part) - len(failed),
        "done_before": before,
        "failed": failed,
        "outputs": outputs,
    }
    if failed:
        listed = ", ".join(sorted(failed)[:5]) + (", ..." if len(failed) > 5 else "")
        raise BatchError(
            f"{len(failed)} of {len(part)} cases failed ({listed}): their reasons are above and in "
            f"{plan.output}/cases. Run the same command again to try them again.",
            1,
            report,
        )
    return report


def _plan(task: Task[Any], arguments: argparse.Namespace):
    from NNMambaLib.batch.plan import Plan, Step

    extra = {kind.name: _extra_ending(kind.endings, arguments.format) for kind in task.files[1:]}
    files = {task.files[0].name: arguments.format} | {
        name: ending for name, ending in extra.items() if getattr(arguments, name)
    }
    step = Step("", task.name, arguments.model, task_options(task, arguments, files), files)
    limit = None if arguments.memory_limit is None else int(arguments.memory_limit * 2**30)
    output = str(Path(arguments.output).absolute())
    engine = (arguments.device, arguments.backend, arguments.precision, limit)
    return Plan(output, (step,), *engine, arguments.overwrite).with_models()


def _extra_ending(endings: tuple[str, ...], preferred: str) -> str:
    return preferred if preferred in endings else ".nii.gz" if ".nii.gz" in endings else endings[0]


def _processes(arguments: argparse.Namespace) -> tuple[int, int, list[str]]:
    """Return how many processes there are, the threads of each (0: as the libraries choose), and their devices."""
    devices: list[str] = []
    if arguments.device == "auto":
        import torch

        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if devices or arguments.device not in ("auto", "cpu"):
        return arguments.workers or max(1, len(devices)), arguments.threads_per_worker or 0, devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if arguments.workers and not arguments.threads_per_worker:
        return arguments.workers, max(1, cores // arguments.workers), devices
    threads = arguments.threads_per_worker or min(_MOST_THREADS, cores)
    return arguments.workers or max(1, cores // threads), threads, devices


def _with_limit(plan, workers: int, devices: list[str]):
    """Return the plan with each process's share of the memory, where several share it."""
    from NNMambaLib.runtime.memory import free_memory

    if workers == 1 or devices or plan.memory_limit is not None:
        return plan
    return replace(plan, memory_limit=free_memory().bytes // workers)


def _print_audit(found: dict[str, Any]) -> None:
    print_table(["state", "cases"], [[state, str(count)] for state, count in found["counts"].items()])
    for name, entry in found["cases"].items():
        print(f"{name}: {entry['state']} ({entry['reason']})")
    for path in found["edited"]:
        print(f"{path}: edited since it was written")
    for path in found["stray"]:
        print(f"{path}: of no case")


class _Progress:
    """Lines on standard error: cases ended and failed, cases an hour, time left."""

    def __init__(self, total: int):
        self._total, self._done = total, 0
        self._began = self._printed = time.monotonic()

    def step(self, failed: int) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._printed < _PAUSE and self._done < self._total:
            return
        self._printed = now
        rate = self._done / max(now - self._began, 1e-3)
        minutes, seconds = divmod(round((self._total - self._done) / rate), 60)
        left = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"
        line = f"{self._done}/{self._total}, {failed} failed, {3600 * rate:.0f} an hour, {left} left"
        print(line, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 1024")
    return value
