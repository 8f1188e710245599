"""The worker's cost to a panel: start of a first and a second job, hand-over of a large volume, pauses of the window.

    python Testing/Benchmarks/worker.py

Drives the panel NNMamba Segment in the host, with a small random model. A job starts computing when its first tile
does. Memory is that of the panel's process beyond what it was before Apply; the window's longest pause is the longest
time in which Qt handled no event.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from measure import in_fresh_process, load, machine

sys.path.insert(0, str(Path(__file__).parents[1] / "SlicerHost"))
LARGE = (300, 512, 512)
SMALL = (48, 48, 48)
_STARTED = ("Segmenting",)


def measure(folder: Path) -> dict:
    """Drive the panel and return seconds, bytes and milliseconds; for a fresh process."""
    os.environ["NNMAMBA_MODELS"] = str(folder)
    from NNMambaLib.support.random_package import random_manifest, write_random_package
    from slicer_host import SlicerHost

    manifest = random_manifest("segmentation", outputs=4, base_width=4, patch=(48, 48, 48), spacing=(1.0, 1.0, 1.0))
    write_random_package(folder / "random", manifest)
    with SlicerHost() as host:
        from NNMambaLib import scene
        from NNMambaLib.panel.shared_worker import close_shared_worker
        from NNMambaLib.volumes.volume import Volume

        def node(shape, name):
            voxels = np.random.default_rng(0).integers(-1000, 1000, (1, *shape), dtype=np.int16)
            return scene.add_volume(host.scene, Volume(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]), name))

        small, large = node(SMALL, "small"), node(LARGE, "large")
        panel = host.open("NNMambaSegment").lifecycle.panel
        panel.ui.modelComboBox.currentIndex = panel.ui.modelComboBox.findData("random")
        found = {}
        for name in ("first", "second"):
            panel.ui.inputSelector0.setCurrentNode(small)
            with host.heartbeat() as beat:
                began = time.perf_counter()
                panel.ui.applyButton.click()
                host.wait(lambda: panel.ui.progressLabel.text.startswith(_STARTED), 120)
                found[f"{name} job"] = time.perf_counter() - began
                host.wait(lambda: not panel.running, 120)
            found[f"{name} pause"] = beat.longest_ms
        panel.ui.inputSelector0.setCurrentNode(large)
        process = psutil.Process()
        before = peak = process.memory_info().rss

        def handed_over():
            nonlocal peak
            peak = max(peak, process.memory_info().rss)
            return panel.ui.progressLabel.text != "Handing over the volume"

        with host.heartbeat() as beat:
            began = time.perf_counter()
            panel.ui.applyButton.click()
            host.wait(handed_over, 120)
            found["hand-over"] = time.perf_counter() - began
            panel.ui.applyButton.click()
            panel.ui.applyButton.click()
            host.wait(lambda: not panel.running, 120)
        found |= {"hand-over pause": beat.longest_ms, "memory": (peak - before) / (2 * np.prod(LARGE))}
        close_shared_worker()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps({key: float(value) for key, value in measure(options.measure).items()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = in_fresh_process(__file__, "--measure", folder)
    print(f"{machine()}; {load()}")
    print(f"Apply to the first tile, first job after the start: {found['first job']:.2f} s")
    print(f"Apply to the first tile, second job on the same model: {found['second job']:.2f} s (at most 0.3)")
    size = "x".join(str(count) for count in reversed(LARGE))
    print(f"Handing over {size} voxels of int16: {found['hand-over']:.2f} s (below 1)")
    print(f"Memory for it beside the volume, in volumes: {found['memory']:.2f} (below 1.2 with the volume: 0.2)")
    pauses = ", ".join(f"{found[f'{name} pause']:.0f}" for name in ("first", "second", "hand-over"))
    print(f"Longest pause of the window in the first, the second and the large job: {pauses} ms (at most 50)")


if __name__ == "__main__":
    main()
