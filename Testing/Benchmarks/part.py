"""One part of the benchmarks: its table, goals and checks, printed as Markdown and kept as JSON for the report."""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
from measure import clean_environment, load, machine


@dataclass(frozen=True)
class Goal:
    """A limit for a measured value: at least `limit`, or at most with `at_most`."""

    what: str
    value: float
    limit: float
    unit: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def cells(self) -> list[str]:
        """Return what, measured, goal and verdict, for a row of a table."""
        way = "at most" if self.at_most else "at least"
        measured, wanted = (_quantity(number, self.unit) for number in (self.value, self.limit))
        return [self.what, measured, f"{way} {wanted}", "met" if self.met else "**not met**"]


@dataclass(frozen=True)
class Check:
    """A condition without which the times would mean nothing, such as outputs that agree."""

    what: str
    kept: bool


@dataclass
class Part:
    """What one script measured.

    Attributes:
        method: how it was measured, in a sentence or two.
        header, rows: the table, as text.
        data: numbers for the picture, and whatever else JSON can hold.
        machine, load, command, date, seconds: filled in by `main`.
    """

    name: str
    title: str
    method: str
    header: list[str]
    rows: list[list[str]]
    goals: list[Goal] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict = field(default_factory=dict)
    machine: str = ""
    load: str = ""
    command: str = ""
    date: str = ""
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        return all(check.kept for check in self.checks)

    def markdown(self) -> str:
        """Return the part without its goals, as a section."""
        lines = [f"## {self.title}", "", self.method, "", *table(self.header, self.rows), ""]
        lines += [f"- {note}" for note in self.notes]
        lines += [f"- {check.what}: {'yes' if check.kept else '**NO**'}" for check in self.checks]
        lines += [f"- {self.machine}; {self.load}; {self.date}, {self.seconds:.0f} s.", f"- `{self.command}`", ""]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Part":
        content = json.loads(path.read_text(encoding="utf-8"))
        content["goals"] = [Goal(**goal) for goal in content["goals"]]
        content["checks"] = [Check(**check) for check in content["checks"]]
        return cls(**content)


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def goals_table(goals: list[Goal]) -> list[str]:
    return table(["", "measured", "goal", ""], [goal.cells() for goal in goals])


def make_parser(description: str, repeats: int | None = None) -> argparse.ArgumentParser:
    """Return a parser with the options of every part; `repeats` is the default of --repeats, None for none."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of all that is measured")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the part as JSON, for report.py")
    if repeats is not None:
        parser.add_argument("--repeats", type=int, default=repeats, help=f"timed runs of each ({repeats})")
    return parser


def main(options: argparse.Namespace, measure: Callable[[argparse.Namespace], Part], packages=()) -> int:
    """Measure, print and keep a part; return 0 if its checks were kept, whether its goals were or not.

    It is measured in the environment of the engine's own processes, if need be in another process than this one.

    Args:
        packages: whose versions matter, beside Python's, torch's and numba's.
    """
    if clean_environment() != dict(os.environ):
        return subprocess.run([sys.executable, *sys.argv], env=clean_environment()).returncode
    torch.set_num_threads(options.threads)
    before, began = load(), time.perf_counter()
    part = measure(options)
    part.machine, part.load = f"{machine(packages)}, {options.threads} threads", before
    part.date = datetime.now(UTC).date().isoformat()
    part.seconds = time.perf_counter() - began
    part.command = shlex.join(["python", f"Testing/Benchmarks/{Path(sys.argv[0]).name}", *_settings(sys.argv[1:])])
    print(part.markdown())
    if part.goals:
        print("\n".join(goals_table(part.goals)))
    if options.output is not None:
        part.write(options.output)
    return 0 if part.sound else 1


def _settings(arguments: list[str]) -> list[str]:
    """Return the arguments without where the JSON went."""
    if "--output" in arguments:
        place = arguments.index("--output")
        return arguments[:place] + arguments[place + 2 :]
    return [argument for argument in arguments if not argument.startswith("--output=")]


def _quantity(number: float, unit: str) -> str:
    if unit == "times":
        return f"{number:.1f} times"
    digits = f"{number:.1e}" if abs(number) < 0.01 else f"{number:.6g}" if unit == "%" else f"{number:.3g}"
    return f"{digits} {unit}".strip()
