"""What a batch costs: its time over a loop in one warm process, what two processes gain, and memory by number of cases.

    python Testing/Benchmarks/batch.py

The loop reads, computes and writes one volume after the other with the library, as a script would. The batch's time is
that of its cases, from the first that is begun to the last that is done, by their logs: it starts processes once, in
some seconds. All on one thread a process; loop and batches take turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

import psutil
from batch_cases import batch_command, make_cases, make_model
from measure import MIB, in_fresh_process
from part import Check, Goal, Part, main, make_parser

_MOST_OVERHEAD, _LEAST_GAIN = 1.03, 1.9


def measure(options: argparse.Namespace) -> Part:
    """Time the loop and batches of one and two processes, and measure batches of growing size."""
    seconds = {"loop": [], "1 process": [], "2 processes": []}
    done = []
    with tempfile.TemporaryDirectory() as folder:
        inputs, model = Path(folder) / "in", Path(folder) / "model"
        make_cases(inputs, options.cases, options.size)
        make_model(model, options.width, options.size)
        for number in range(options.repeats):
            loop = in_fresh_process(__file__, "--loop", inputs, model, Path(folder) / f"loop{number}")
            seconds["loop"].append(loop["seconds"])
            for workers, name in ((1, "1 process"), (2, "2 processes")):
                output = Path(folder) / f"batch{number}-{workers}"
                _run(batch_command(inputs, model, output, workers, 1))
                seconds[name].append(_span(output))
                done.append(len(list(output.glob("*.nrrd"))) == options.cases)
        peaks = {count: _peak_of(Path(folder) / f"many{count}", count) for count in options.counts}
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    overhead = medians["1 process"] / medians["loop"]
    gain = medians["1 process"] / medians["2 processes"]
    rows = [[f"{name}, {options.cases} cases", f"{value:.2f} s", f"{value / medians['loop']:.3f}"]
            for name, value in medians.items()]  # fmt: skip
    rows += [[f"peak memory, {count} cases of 16^3", f"{peak / MIB:.0f} MiB", ""] for count, peak in peaks.items()]
    return Part(
        "batch",
        "Batch: what it costs",
        f"Volumes of {options.size}^3 voxels, SEG-CSS of width {options.width}, medians of {options.repeats}; memory "
        "is the sum over all of the batch's processes (unique and shared counted once each), at its largest.",
        ["", "", "over the loop"],
        rows,
        [
            Goal("one process over the loop", overhead, _MOST_OVERHEAD, "", at_most=True),
            Goal("two processes against one", gain, _LEAST_GAIN, "times"),
        ],
        [Check("every batch wrote all results", all(done))],
        data={"seconds": seconds, "peaks": peaks},
    )


def loop(inputs: Path, model: Path, output: Path) -> dict:
    """Return the seconds that a loop over all volumes takes after the first, warm-up, volume; for a fresh process."""
    import torch

    from NNMambaLib.engine import Engine
    from NNMambaLib.export.segmentation_file import write_segmentation
    from NNMambaLib.volumes.files import read_volume

    torch.set_num_threads(1)
    output.mkdir()
    engine, paths = Engine("cpu"), sorted(inputs.iterdir())

    def run(path: Path) -> None:
        write_segmentation(engine.segment(read_volume(path, check=False), str(model)), output / path.name)

    began = time.perf_counter()
    for path in paths:
        run(path)
    return {"seconds": time.perf_counter() - began}


def _run(command: dict) -> None:
    subprocess.run(**command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def _span(output: Path) -> float:
    """Return the seconds from the first line to the last in the cases' logs."""
    lines = [line for log in output.glob("cases/*/case.log") for line in log.read_text(encoding="utf-8").splitlines()]
    times = [datetime.fromisoformat(line.split()[0]) for line in lines]
    return (max(times) - min(times)).total_seconds()


def _peak_of(folder: Path, count: int) -> int:
    """Return the largest memory (proportional set size) of a batch and its processes, looked at ten times a second."""
    make_cases(folder / "in", count, 16)
    make_model(folder / "model", 2, 16)
    command = batch_command(folder / "in", folder / "model", folder / "out", 1, 1)
    batch = subprocess.Popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            try:
                root = psutil.Process(batch.pid)
                peak[0] = max(peak[0], sum(_memory(each) for each in (root, *root.children(recursive=True))))
            except psutil.Error:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = batch.wait()
    ended.set()
    watcher.join()
    if code:
        raise SystemExit(f"The batch of {count} cases ended with exit code {code}.")
    return peak[0]


def _memory(process: psutil.Process) -> int:
    found = process.memory_full_info()
    return getattr(found, "pss", found.uss)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--loop"]:
        print(json.dumps(loop(*map(Path, sys.argv[2:5]))))
        sys.exit(0)
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--size", type=int, default=64, help="voxels along each axis (64)")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000], help="of cases, for the memory")
    sys.exit(main(parser.parse_args(), measure))
