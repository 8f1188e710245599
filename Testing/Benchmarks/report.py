"""Make one table of goals, the parts' tables and a picture from the parts' JSON files.

    python Testing/Benchmarks/report.py

Reads build/benchmarks and writes Documentation/benchmarks.md and Documentation/benchmarks.png, the latter with
matplotlib (extra ``benchmark``).
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from measure import CHECKOUT
from part import Part, goals_table
from picture import draw

# Each part and its script, in the report's order.
PARTS = {
    "forward": "forward.py",
    "peers": "peers.py",
    "openvino": "openvino_peer.py",
    "scan": "scan.py",
    "classifier": "classifier.py",
    "linearity": "linearity.py",
    "end_to_end": "end_to_end.py",
    "agreement": "agreement.py",
}
RESULTS = CHECKOUT / "build" / "benchmarks"
DOCUMENTATION = "Documentation"
_PICTURE = "benchmarks.png"
_INTRODUCTION = """# Benchmarks

Written by `python Testing/Benchmarks/run_all.py`; do not edit. Each comparison is a ratio of medians from one
process, in which all that is compared was run in turn; memory, whole runs and differences are as each part says. Each
part names machine, versions, the load before it and its own command.
"""


def read_parts(results: Path) -> list[Part]:
    """Return the parts that were measured, in the report's order."""
    paths = (results / f"{name}.json" for name in PARTS)
    return [Part.read(path) for path in paths if path.exists()]


def markdown(parts: list[Part], picture: bool) -> str:
    """Return the report; `picture` says whether there is one beside it."""
    measured = {part.name for part in parts}
    missing = [name for name in PARTS if name not in measured]
    lines = [_INTRODUCTION, *goals_table([goal for part in parts for goal in part.goals]), ""]
    if missing:
        lines += [f"Not measured: {', '.join(missing)}.", ""]
    for part in parts:
        lines.append(part.markdown())
        if part.name == "linearity" and picture:
            lines += [f"![Seconds against size, in logarithms of both]({_PICTURE})", ""]
    return "\n".join(lines).rstrip() + "\n"


def write_report(results: Path, folder: Path) -> list[Path]:
    """Write the report on the results into a folder; return the files."""
    parts = read_parts(results)
    curves = next((part.data for part in parts if part.name == "linearity"), None)
    written = [folder / "benchmarks.md"]
    drawable = curves is not None and find_spec("matplotlib") is not None
    if drawable:
        written.append(draw(curves, folder / _PICTURE))
    elif curves is not None:
        print("No picture: matplotlib is not installed (extra benchmark)", file=sys.stderr)
    written[0].write_text(markdown(parts, drawable), encoding="utf-8")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="of run_all.py (build/benchmarks)")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / DOCUMENTATION, metavar="DIR", help="to write to")
    options = parser.parse_args()
    for path in write_report(options.results, options.folder):
        print(f"Wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
