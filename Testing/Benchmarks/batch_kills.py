"""A batch that is killed again and again: is a case lost, done twice, or wrong?

    python Testing/Benchmarks/batch_kills.py

Small volumes and a tiny network. At random instants the batch's process, or one of the processes that run its cases, is
killed (SIGKILL); a batch that was killed is started again. What is counted at the end stands in each case's own log and
record, and in the results' digests, compared with those of a batch that nobody disturbed.
"""

import argparse
import hashlib
import json
import random
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from batch_cases import batch_command, make_cases, make_model
from part import Check, Part, main, make_parser

from NNMambaLib.volumes.files import read_volume


@dataclass
class _Kills:
    """What was killed, and the exit codes of the batches that ended by themselves."""

    batches: int = 0
    workers: int = 0
    codes: list[int] = field(default_factory=list)


def measure(options: argparse.Namespace) -> Part:
    """Run the cases once undisturbed and once under fire; return what was counted."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, model = Path(folder) / "in", Path(folder) / "model"
        names = [path.stem for path in make_cases(inputs, options.cases, options.size)]
        make_model(model, 2, options.size)
        undisturbed, disturbed = Path(folder) / "undisturbed", Path(folder) / "disturbed"
        began = time.monotonic()
        first = _run(inputs, model, undisturbed, options.workers)
        seconds = time.monotonic() - began
        kills = _under_fire(inputs, model, disturbed, options, seconds / options.kills)
        expected, found = _digests(undisturbed), _digests(disturbed)
        lost = [name for name in names if name not in found]
        wrong = [name for name in found if found[name] != expected.get(name)]
        twice = [name for name in names if _times_done(disturbed, name) > 1]
        begun = sum(_log(disturbed, name).count(" begins\n") for name in names)
        again = _run(inputs, model, disturbed, options.workers)
        left = [path for path in disturbed.rglob("*") if path.is_file() and ".nnmamba" in path.name]
    counts = {
        "cases": len(names), "batches killed": kills.batches, "their processes killed": kills.workers,
        "cases begun": begun, "lost": len(lost), "done twice": len(twice), "wrong": len(wrong),
        "exit codes other than 0": sum(code != 0 for code in (first, *kills.codes, again)),
        "files left behind": len(left),
    }  # fmt: skip
    zero = ("lost", "done twice", "wrong", "exit codes other than 0", "files left behind")
    return Part(
        "batch_kills",
        "Batch: killed again and again",
        f"Volumes of {options.size}^3 voxels, {options.workers} processes; SIGKILL at random instants, seed "
        f"{options.seed}.",
        ["", "count"],
        [[what, str(count)] for what, count in counts.items()],
        checks=[Check(f"{what}: 0", counts[what] == 0) for what in zero],
        data=counts,
    )


def _under_fire(inputs: Path, model: Path, output: Path, options: argparse.Namespace, mean: float) -> _Kills:
    chance, kills = random.Random(options.seed), _Kills()
    while kills.batches + kills.workers < options.kills:
        batch = subprocess.Popen(**batch_command(inputs, model, output, options.workers, 1), stderr=subprocess.DEVNULL)
        while batch.poll() is None:
            # Processes need some seconds to start: both that time and the work are hit.
            time.sleep(chance.uniform(0.2, 1.0) * max(4.0, 2 * mean))
            if kills.batches + kills.workers >= options.kills or batch.poll() is not None:
                break
            with suppress(psutil.NoSuchProcess):
                children = psutil.Process(batch.pid).children(recursive=True)
                if children and chance.random() < 0.5:
                    chance.choice(children).kill()
                    kills.workers += 1
                    continue
            batch.kill()
            kills.batches += 1
        if batch.wait() >= 0:
            kills.codes.append(batch.returncode)
            if all((output / f"{path.stem}.nrrd").exists() for path in inputs.iterdir()):
                break
    kills.codes.append(_run(inputs, model, output, options.workers))
    return kills


def _run(inputs: Path, model: Path, output: Path, workers: int) -> int:
    command = batch_command(inputs, model, output, workers, 1)
    return subprocess.run(**command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def _digests(output: Path) -> dict[str, str]:
    """Return the digest of each case's voxels, of those whose record is true; headers hold times."""
    digests = {}
    for record in (output / "cases").glob("*/case.json"):
        content = json.loads(record.read_text(encoding="utf-8"))
        result = output / content["outputs"][0]["path"]
        intact = hashlib.sha256(result.read_bytes()).hexdigest() == content["outputs"][0]["sha256"]
        if content["status"] == "done" and intact:
            digests[content["case"]] = hashlib.sha256(read_volume(result).array.tobytes()).hexdigest()
    return digests


def _log(output: Path, name: str) -> str:
    path = output / "cases" / name / "case.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _times_done(output: Path, name: str) -> int:
    return _log(output, name).count(" done\n")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--size", type=int, default=16, help="voxels along each axis (16)")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    raise SystemExit(main(parser.parse_args(), measure))
