"""Output of the commands: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from NNMambaLib.progress import Progress
from NNMambaLib.runtime.units import format_bytes, format_duration

# Seconds between plain progress lines.
_PAUSE = 5.0


@contextmanager
def progress_display() -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows progress on standard error; clean up at the end."""
    if not sys.stderr.isatty():
        yield _plain_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    count = TextColumn("{task.completed}/{task.total} {task.fields[left]}")
    with Bars(
        TextColumn("{task.description}"), BarColumn(), count, console=Console(stderr=True), transient=True
    ) as bars:
        tasks = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                for task in tasks.values():
                    bars.update(task, visible=False)
                tasks[progress.stage] = bars.add_task(progress.stage, left="")
            bars.update(
                tasks[progress.stage], completed=progress.done, total=progress.total, left=_left(progress), visible=True
            )

        yield show


def print_notices(notices) -> None:
    """Print on standard error how a run departed from what was asked for."""
    for notice in notices:
        print(f"Note: {notice}.", file=sys.stderr)


def print_estimate(need, free) -> None:
    """Print on standard error the memory that a run needs (`MemoryNeed`), and what can be used (`FreeMemory`)."""
    used = f"{format_bytes(free.bytes)} can be used ({free.limit})"
    print(f"Needs about {format_bytes(need.total)} of memory; {used}.", file=sys.stderr)


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print rows in columns as wide as their longest entries."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip())


def _plain_lines() -> Callable[[Progress], None]:
    stage, printed = None, 0.0

    def show(progress: Progress) -> None:
        nonlocal stage, printed
        now = time.monotonic()
        if progress.stage == stage and (now - printed < _PAUSE or progress.done == progress.total):
            return
        steps = f" {progress.done}/{progress.total}" if progress.total > 1 else ""
        print(f"{progress.stage}{steps} {_left(progress)}".rstrip(), file=sys.stderr, flush=True)
        stage, printed = progress.stage, now

    return show


def _left(progress: Progress) -> str:
    return "" if progress.seconds_left is None else f"{format_duration(progress.seconds_left)} left"
