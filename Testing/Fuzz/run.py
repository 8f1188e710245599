"""Feed changed files to the readers of this product: the n-th input of a family and seed is the same in every run.

Prints a table of how the inputs ended, and exits with 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from children import Child
from families import NAMES

FAULTS = ("traceback", "hang", "memory", "crash", "leftover")
COLUMNS = ("read", "refused", *FAULTS)


def main() -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, help="end after this time (default: 60, without --inputs)")
    parser.add_argument("--inputs", type=int, help="end after so many inputs, of all families together")
    parser.add_argument("--seed", type=int, default=0, help="of all changes (default: 0)")
    parser.add_argument("--first", type=int, default=0, help="number of each family's first input (default: 0)")
    parser.add_argument("--family", choices=NAMES, action="append", help="this one alone; may be repeated")
    parser.add_argument("--keep", type=Path, help="folder for the inputs at fault, and what was said of them")
    options = parser.parse_args()
    seconds = options.seconds or (float("inf") if options.inputs else 60.0)
    counts = fuzz(options.family or NAMES, seconds, options.inputs, options.seed, options.first, options.keep)
    print(table(counts))
    return 1 if any(count[kind] for count in counts.values() for kind in FAULTS) else 0


def fuzz(families, seconds: float, inputs: int | None, seed: int, first: int, keep: Path | None) -> dict[str, Counter]:
    """Return each family's counts of outcomes; the families take turns."""
    counts: dict[str, Counter] = {family: Counter() for family in families}
    end, done, number = time.monotonic() + seconds, 0, first
    child = Child()
    try:
        while True:
            for family in families:
                if (inputs is not None and done >= inputs) or time.monotonic() > end:
                    return counts
                outcome = child.try_input(family, number, seed)
                counts[family][outcome.kind] += 1
                done += 1
                if outcome.is_fault:
                    print(f"{family} {number} (seed {seed}): {outcome.kind}\n{outcome.details}", flush=True)
                    if keep is not None:
                        folder = keep / f"{family}-{seed}-{number}-{outcome.kind}"
                        child.keep(folder)
                        (folder / "fault.txt").write_text(outcome.details or "", encoding="utf-8")
            number += 1
    finally:
        child.close()


def table(counts: dict[str, Counter]) -> str:
    """Return the counts as lines of text, with their sum."""
    total = sum(counts.values(), Counter())
    rows = [f"{'family':<12}{'inputs':>8}" + "".join(f"{name:>11}" for name in COLUMNS)]
    for name, count in {**counts, "all": total}.items():
        rows.append(f"{name:<12}{count.total():>8}" + "".join(f"{count[kind]:>11}" for kind in COLUMNS))
    return "\n".join(rows)


if __name__ == "__main__":
    raise SystemExit(main())
