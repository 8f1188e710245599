"""Run every part of the benchmarks, each in a fresh process, and write the report: about 25 minutes on two cores.

    python Testing/Benchmarks/run_all.py --threads 2

Parts that are measured already are left as they are, so that a run that was stopped can be resumed; ``--again``
measures them again. ``--quick`` is for trying the scripts: its sizes are too small to mean anything. The report is
Documentation/benchmarks.md and benchmarks.png; with ``--quick`` it is written beside the results.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from measure import CHECKOUT, clean_environment, load
from report import DOCUMENTATION, PARTS, RESULTS, write_report

_QUICK = {
    "forward": "--size 32 --repeats 2",
    "peers": "--size 64 --repeats 1 --no-swin",
    "openvino": "--size 64 --repeats 2",
    "scan": "--length 2048 --repeats 2",
    "classifier": "--size 32 32 32",
    "linearity": "--patch 32 --patches 1 2 3 --volume-repeats 1 --lengths 1024 2048 4096",
    "end_to_end": "--size 96 96 64 --head-size 64 64 64 --width 8 --patch 64",
    "agreement": "--size 32",
}


def run_part(name: str, output: Path, threads: int, quick: bool) -> int:
    """Run a part's script; return its exit code."""
    arguments = [*(_QUICK[name].split() if quick else ()), "--threads", str(threads), "--output", str(output)]
    script = str(Path(__file__).with_name(PARTS[name]))
    return subprocess.run([sys.executable, script, *arguments], env=clean_environment()).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of all that is measured (2)")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="some of the parts")
    parser.add_argument("--again", action="store_true", help="also measure what is measured already")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that the scripts work")
    parser.add_argument("--results", type=Path, metavar="DIR", help="for the parts' JSON (build/benchmarks)")
    options = parser.parse_args()
    results = options.results or (RESULTS / "quick" if options.quick else RESULTS)

    failed = []
    for name in options.only:
        output = results / f"{name}.json"
        if output.exists() and not options.again:
            print(f"{name}: measured already, in {output}")
            continue
        print(f"\n{name}: {load()}", flush=True)
        began = time.perf_counter()
        # A part that fails must not leave what an earlier one measured in its place.
        output.unlink(missing_ok=True)
        if run_part(name, output, options.threads, options.quick):
            failed.append(name)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    for path in write_report(results, results if options.quick else CHECKOUT / DOCUMENTATION):
        print(f"Wrote {path}")
    if failed:
        print(f"Failed, or did not agree: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
