"""Peak memory of segmenting a large CT: 512 x 512 x 300 voxels of int16 into 16 labels with SEG-CSS.

    python Testing/Benchmarks/peak_memory.py --width 8

The volume is synthetic and the weights are random. A process of its own reads the volume, runs the engine as a script
would, and reports its largest resident memory, imports included; more than the limit is a failure. With the model's
spacing equal to the volume's (the default) nothing is resampled and there are most tiles; try also a coarser one.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import GIB, in_fresh_process, load, machine, peak_resident_bytes, resident_bytes


def synthetic_ct(size: tuple[int, int, int]) -> np.ndarray:
    """Return int16 voxels (z, y, x) in Hounsfield-like units: an elliptic body of noisy layers in air."""
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in reversed(size))
    layers = (100 * np.sin(9 * z)).astype(np.int16)
    body = (y[:, None] / 0.7) ** 2 + (x[None, :] / 0.9) ** 2 < 1
    voxels = np.random.default_rng(0).integers(-50, 50, size=tuple(reversed(size)), dtype=np.int16)
    voxels += layers[:, None, None]
    voxels[:, ~body] = -1000
    return voxels


def prepare(folder: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """Write the volume and the model package; return their paths."""
    from NNMambaLib.support.random_package import random_manifest, write_random_package
    from NNMambaLib.volumes.files import write_volume
    from NNMambaLib.volumes.volume import Volume

    volume, model = folder / "ct.nrrd", folder / "model"
    matrix = np.diag([*options.spacing, 1.0])
    write_volume(Volume(synthetic_ct(options.size)[None], matrix, "synthetic CT"), volume)
    spacing = tuple(options.model_spacing or options.spacing)
    manifest = random_manifest(
        "segmentation", "SEG-CSS", options.labels, options.width, patch=(options.patch,) * 3, spacing=spacing
    )
    write_random_package(model, manifest)
    return volume, model


def segment(volume: Path, model: Path, step: float, threads: int) -> dict:
    """Segment a volume and return what was measured; for a fresh process.

    Returns:
        ``peak``: largest resident memory in bytes; ``before``: once the volume was read; ``input``: of its voxels.
        ``seconds``: of each stage, and ``total``.
        ``labels``: number of labels found; ``notices``: the engine's.
    """
    import torch

    from NNMambaLib.engine import Engine
    from NNMambaLib.volumes.files import read_volume

    torch.set_num_threads(threads)
    given = read_volume(volume)
    engine, before = Engine(device="cpu"), resident_bytes()
    result = engine.segment(given, model, step=step)
    return {
        "peak": peak_resident_bytes(),
        "before": before,
        "input": given.array.nbytes,
        "seconds": result.provenance.seconds,
        "labels": int(np.count_nonzero(np.bincount(result.labels.array.ravel()))),
        "notices": list(result.provenance.notices),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 300), metavar=("X", "Y", "Z"), help="voxels")
    parser.add_argument("--spacing", type=float, nargs=3, default=(0.8, 0.8, 1.0), metavar=("X", "Y", "Z"), help="mm")
    parser.add_argument("--model-spacing", type=float, nargs=3, metavar=("X", "Y", "Z"), help="mm (the volume's)")
    parser.add_argument("--width", type=int, default=32, help="channels after the stem; less is faster (32)")
    parser.add_argument("--labels", type=int, default=16, help="with background (16)")
    parser.add_argument("--patch", type=int, default=128, help="voxels along each axis (128)")
    parser.add_argument("--step", type=float, default=0.5, help="of the tiles, in patches; 1 is fastest (0.5)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=6.0, help="GiB (6)")
    parser.add_argument("--segment", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.segment:
        print(json.dumps(segment(*options.segment, options.step, options.threads)))
        return 0

    with tempfile.TemporaryDirectory() as folder:
        volume, model = prepare(Path(folder), options)
        how = ("--step", options.step, "--threads", options.threads)
        found = in_fresh_process(__file__, "--segment", volume, model, *how)
    kept = found["peak"] <= options.limit * GIB
    model_spacing = "the same" if options.model_spacing is None else f"{options.model_spacing} mm"
    rows = {
        "volume": f"{' x '.join(map(str, options.size))} voxels of int16, {tuple(options.spacing)} mm",
        "network": f"SEG-CSS, width {options.width}, {options.labels} labels",
        "tiles": f"{options.patch}^3 voxels, {options.step} of that apart",
        "model's spacing": model_spacing,
        "threads": options.threads,
        "seconds": f"{found['seconds']['total']:.0f} ({load()})",
        "labels found": found["labels"],
        "notices": "; ".join(found["notices"]) or "none",
        "peak resident memory": f"{found['peak'] / GIB:.2f} GiB",
        "limit": f"{options.limit:.2f} GiB: {'kept' if kept else 'EXCEEDED'}",
    }
    print(f"{machine()}\n\n| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
