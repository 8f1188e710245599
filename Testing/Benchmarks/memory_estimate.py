"""The memory that is announced against the memory that is taken, over sizes, classes, options and tasks.

    python Testing/Benchmarks/memory_estimate.py

Each run has a process of its own, on random voxels with random weights. Announced is the need that the command prints
before it starts, of the way that will run; taken is the largest resident memory from then on, above what was resident
at that moment: the model's weights, libraries that load late, and the writing of the files included. The announced need
is to be 1.0 to 1.5 times what is taken; libraries and allocators weigh more where little is taken, so runs of less than
256 MiB are shown and not judged.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from measure import MIB, extra_memory, in_fresh_process, peak_resident_bytes, resident_bytes
from part import Check, Goal, Part, main, make_parser

_JUDGED = 256 * MIB
_LEAST, _MOST = 1.0, 1.5


@dataclass(frozen=True)
class Run:
    """A run whose memory is measured.

    Attributes:
        size: voxels of the input along (x, y, z), of 1 mm.
        spacing: of the model, mm; another than 1 resamples the input.
        backend: of the selective scan.
        limit: bytes that are given to the engine, or None.
    """

    name: str
    task: str = "segmentation"
    variant: str = "SEG-CSS"
    size: tuple[int, int, int] = (192, 192, 160)
    spacing: float = 1.0
    outputs: int = 14
    width: int = 32
    patch: int = 128
    options: dict = field(default_factory=dict)
    backend: str = "auto"
    precision: str = "float32"
    limit: int | None = None


_EVERYTHING = {"probabilities": True, "uncertainty": True}
RUNS = [
    Run("labels"),
    Run("labels, PyTorch's scan", backend="torch"),
    Run("labels, 2 classes", outputs=2),
    Run("labels, 40 classes", outputs=40),
    Run("labels, width 8", width=8),
    Run("labels, patch 64", patch=64),
    Run("labels, patch 160", patch=160, size=(256, 256, 200), outputs=4),
    Run("labels, resampled", spacing=1.5, size=(256, 256, 256)),
    Run("labels, large volume", size=(512, 512, 200), spacing=2.0, outputs=4, width=16),
    Run("labels, SEG-NNU", variant="SEG-NNU"),
    Run("labels, full resolution", variant="SEG-CSS-FULL"),
    Run("labels, full resolution, width 8", variant="SEG-CSS-FULL", width=8),
    Run("uncertainty", options={"uncertainty": True}),
    Run("probabilities", options={"probabilities": True}),
    Run("both", options=_EVERYTHING),
    Run("both, resampled", options=_EVERYTHING, spacing=1.5, size=(256, 256, 256)),
    Run("both, 40 classes", options=_EVERYTHING, outputs=40),
    Run("both, mirrored", options={**_EVERYTHING, "mirror": True}, outputs=4, patch=64, size=(128, 128, 128)),
    Run("both, limited", options=_EVERYTHING, limit=1200 * MIB),
    Run("landmarks", task="landmarks", variant="SEG-CSS", outputs=32),
    Run("landmarks, resampled", task="landmarks", variant="SEG-CSS", outputs=20, spacing=2.0, size=(256, 256, 256)),
    Run("class", task="classification", variant="CLS", outputs=2, size=(256, 256, 256), patch=192),
    Run("class, explained", task="classification", variant="CLS", outputs=2, size=(160, 160, 160), patch=96,
        options={"explain": "*"}),
]  # fmt: skip
_QUICK = [Run("labels", size=(64, 64, 48), outputs=3, width=8, patch=32)]


def measure_run(run: Run, threads: int) -> dict:
    """Return ``announced`` and ``taken`` bytes; for a fresh process."""
    import torch

    from NNMambaLib.engine import Engine
    from NNMambaLib.inference.tasks import task_named
    from NNMambaLib.support.random_package import random_manifest, write_random_package
    from NNMambaLib.volumes.volume import Volume

    torch.set_num_threads(threads)
    task = task_named(run.task)
    with tempfile.TemporaryDirectory() as folder:
        manifest = random_manifest(
            run.task, run.variant, run.outputs, run.width, patch=(run.patch,) * 3, spacing=(run.spacing,) * 3
        )
        package = write_random_package(Path(folder) / "model", manifest)
        voxels = np.random.default_rng(0).integers(0, 1000, (1, *reversed(run.size)), np.int16)
        volume = Volume(voxels, np.eye(4))
        engine = Engine("cpu", run.backend, run.limit, run.precision)
        options = dict(run.options)
        if options.get("explain") == "*":
            options["explain"] = package.manifest.targets[0].name
        needs, before = [], []

        def announce(need):
            needs.append(need.total)
            extra_memory(lambda: None)
            before.append(resident_bytes())

        result = engine.run(run.task, volume, package, on_estimate=announce, **options)
        wanted = [kind for kind in task.files if kind is task.files[0] or options.get(kind.asks_for or "")]
        task.write(result, {kind.name: Path(folder) / f"{kind.name}{kind.endings[0]}" for kind in wanted}, volume)
        return {
            "announced": needs[0],
            "taken": peak_resident_bytes() - before[0],
            "notices": list(result.provenance.notices),
        }


def measure(options: argparse.Namespace) -> Part:
    """Measure all runs; return them as a part."""
    runs = _QUICK if options.quick else [run for run in RUNS if options.only is None or options.only in run.name]
    rows, data = [], {}
    for run in runs:
        found = in_fresh_process(__file__, "--run", json.dumps(asdict(run)), "--threads", options.threads)
        ratio = found["announced"] / found["taken"]
        data[run.name] = found | {"ratio": ratio}
        rows.append(
            [
                run.name,
                f"{run.variant} {run.width}, {run.outputs}",
                f"{' x '.join(map(str, run.size))}",
                f"{found['announced'] / MIB:.0f}",
                f"{found['taken'] / MIB:.0f}",
                f"{ratio:.2f}" + ("" if found["taken"] >= _JUDGED else " (little)"),
            ]
        )
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    judged = [found["ratio"] for found in data.values() if found["taken"] >= _JUDGED]
    goals = []
    if judged:
        goals = [
            Goal("announced over taken, least", min(judged), _LEAST, ""),
            Goal("announced over taken, most", max(judged), _MOST, "", at_most=True),
        ]
    return Part(
        "memory_estimate",
        "Memory: what is announced and what is taken",
        "Peak resident memory above that at the announcement, each run in a process of its own; random voxels (int16) "
        f"and weights. Ratios of runs that take less than {_JUDGED // MIB} MiB are not judged.",
        ["run", "network and outputs", "voxels", "announced MiB", "taken MiB", "announced / taken"],
        rows,
        goals,
        [Check("every run was measured", len(rows) == len(runs))],
        data=data,
    )


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--only", metavar="TEXT", help="runs whose names contain this")
    parser.add_argument("--quick", action="store_true", help="one small run, to see that the script works")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(json.dumps(measure_run(Run(**json.loads(given.run)), given.threads)))
        sys.exit(0)
    sys.exit(main(given, measure))
