"""``nnmamba demo``: the bundled models on the bundled sample volume, as a Slicer scene and a picture."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from NNMambaLib.commands.arguments import add_engine_arguments, make_engine
from NNMambaLib.commands.console import print_notices, print_table, progress_display
from NNMambaLib.commands.json_report import write_report
from NNMambaLib.errors import ModelError
from NNMambaLib.files import files_together, make_folder
from NNMambaLib.inference.task import Task
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models.catalogue import bundled_packages, sample_volume
from NNMambaLib.results import RESEARCH_USE, LandmarksResult, Result, SegmentationResult
from NNMambaLib.volumes.volume import Volume


def add_parser(commands) -> None:
    parser = commands.add_parser("demo", help="run the bundled models on the bundled sample volume")
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder to write to (default: demo)")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from NNMambaLib.scene.headless import slicer_libraries
    from NNMambaLib.volumes.files import read_volume

    slicer_libraries()
    folder = make_folder(arguments.output)
    packages = bundled_packages()
    if not packages:
        raise ModelError("No model is bundled with this installation: install nnmamba again.")
    seconds = {}
    engine = make_engine(arguments)
    began = time.perf_counter()
    volume = read_volume(sample_volume(), check=False)
    seconds["Reading the sample volume"] = time.perf_counter() - began
    results = {}
    for package in packages:
        with progress_display() as show:
            results[package.manifest.task] = result = engine.run(
                package.manifest.task, volume, package, on_progress=show
            )
        print_notices(result.provenance.notices)
        stages = {name: value for name, value in result.provenance.seconds.items() if name != "total"}
        seconds |= {f"{package.manifest.name}: {name}": value for name, value in stages.items()}
    with files_together():
        written = _write(volume, results, folder, seconds)
        seconds["In all"] = sum(seconds.values())
        write_report(arguments, {"outputs": [str(path) for path in written], "seconds": seconds})
    print_table(["stage", "seconds"], [[stage, f"{value:.1f}"] for stage, value in seconds.items()])
    print(f"Wrote {', '.join(str(path) for path in written)}. {RESEARCH_USE}")


def _write(volume: Volume, results: dict[str, Result], folder: Path, seconds: dict[str, float]) -> list[Path]:
    """Write what was found, for each task that a model is bundled for; return the files and time the stages."""
    from NNMambaLib.scene.result_picture import render_views

    writers: dict[str, Callable[[Path], object]] = {
        TASKS[name].demo_file: partial(_write_result, TASKS[name], result, volume) for name, result in results.items()
    }
    writers["scene.mrb"] = partial(_write_scene, volume, list(results.values()))
    writers["views.png"] = lambda path: render_views(
        path,
        volume,
        cast("SegmentationResult | None", results.get("segmentation")),
        cast("LandmarksResult | None", results.get("landmarks")),
        title="NNMamba demo: sample head, T1-weighted MR",
        overwrite=True,
    )
    written = []
    for name, write in writers.items():
        began = time.perf_counter()
        path = folder / name
        if path.exists():
            print_notices([f"{path} of an earlier demo was replaced"])
        write(path)
        written.append(path)
        seconds[f"Writing {name}"] = time.perf_counter() - began
    return written


def _write_result(task: Task[Any], result: Result, volume: Volume, path: Path) -> None:
    print_notices(task.write(result, {"output": path}, volume))


def _write_scene(volume: Volume, results: list[Result], path: Path) -> None:
    from NNMambaLib.scene.headless import headless_scene, write_mrb
    from NNMambaLib.scene.results import add_result
    from NNMambaLib.scene.volumes import add_volume

    with headless_scene() as scene:
        node = add_volume(scene, volume, "Sample head T1")
        for result in results:
            add_result(result, scene, node)
        write_mrb(scene, path)
