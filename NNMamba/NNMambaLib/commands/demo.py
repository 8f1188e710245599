"""``nnmamba demo``: the bundled models on the bundled sample volume, as a Slicer scene and a picture."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from NNMambaLib.commands.arguments import add_engine_arguments, make_engine
from NNMambaLib.commands.console import print_notices, print_table, progress_display
from NNMambaLib.errors import ModelError
from NNMambaLib.files import make_folder, write_json
from NNMambaLib.results import RESEARCH_USE


def add_parser(commands) -> None:
    parser = commands.add_parser("demo", help="run the bundled models on the bundled sample volume")
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder to write to (default: demo)")
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    from NNMambaLib.models.catalogue import bundled_packages, sample_volume
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
    volume = read_volume(sample_volume())
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
    written = _write(volume, results, folder, seconds)
    seconds["In all"] = sum(seconds.values())
    print_table(["stage", "seconds"], [[stage, f"{value:.1f}"] for stage, value in seconds.items()])
    print(f"Wrote {', '.join(str(path) for path in written)}. {RESEARCH_USE}")
    return {"outputs": [str(path) for path in written], "seconds": seconds}


def _write(volume, results, folder: Path, seconds: dict[str, float]) -> list[Path]:
    """Write what was found, for each task that a model is bundled for; return the files and time the stages."""
    from NNMambaLib.export.markups_file import write_markups
    from NNMambaLib.export.segmentation_file import write_segmentation
    from NNMambaLib.scene.result_picture import render_views

    segmentation = results.get("segmentation")
    landmarks = results.get("landmarks")
    classification = results.get("classification")
    writers = {
        "labels.seg.nrrd": segmentation and (lambda path: write_segmentation(segmentation, path)),
        "landmarks.mrk.json": landmarks and (lambda path: write_markups(landmarks, path)),
        "classification.json": classification and (lambda path: write_json(classification.as_dict(), path)),
        "scene.mrb": lambda path: _write_scene(volume, segmentation, landmarks, classification, path),
        "views.png": lambda path: render_views(
            path, volume, segmentation, landmarks, title="NNMamba demo: sample head, T1-weighted MR", overwrite=True
        ),
    }
    written = []
    for name, write in writers.items():
        if write is None:
            continue
        began = time.perf_counter()
        path = folder / name
        if path.exists():
            print_notices([f"{path} of an earlier demo was replaced"])
        write(path)
        written.append(path)
        seconds[f"Writing {name}"] = time.perf_counter() - began
    return written


def _write_scene(volume, segmentation, landmarks, classification, path: Path) -> None:
    from NNMambaLib.scene.classifications import add_classification
    from NNMambaLib.scene.headless import headless_scene, write_mrb
    from NNMambaLib.scene.landmarks import add_landmarks
    from NNMambaLib.scene.segmentations import add_segmentation
    from NNMambaLib.scene.volumes import add_volume

    with headless_scene() as scene:
        node = add_volume(scene, volume, "Sample head T1")
        if segmentation is not None:
            add_segmentation(scene, segmentation, node, closed_surface=True)
        if landmarks is not None:
            add_landmarks(scene, landmarks, node)
        if classification is not None:
            add_classification(scene, classification, node)
        write_mrb(scene, path)
