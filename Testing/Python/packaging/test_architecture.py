"""The house's arrows: which room of the library may import which, and what is imported only when it is used."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from read_imports import circles, module_paths, read_imports, room_of

ROOT = Path(__file__).parents[3]

# Every room, from the roof to the ground, and the rooms that it imports: all stand below it. A room is a folder, or a
# file in the library's root; a few files stand lower than the rest of their folder and have rows of their own.
# Names are without "NNMambaLib.".
ARROWS = {
    "volume": "volumes",
    "volume_io": "volumes",
    "segmentation_file": "export",
    "modules": "models networks.scan panel panel.hub scene support volumes worker",
    "panel.hub": "errors files models panel progress runtime support worker",
    "panel": "engine errors export models progress results runtime scene worker",
    "cli": "commands runtime",
    "commands": (
        "NNMambaLib batch engine errors file_names files inference models models.imports networks networks.scan "
        "progress results runtime scene support training training.configuration volumes"
    ),
    "batch": (
        "NNMambaLib engine errors export file_names file_placement files inference models plain_files results runtime "
        "strict_json volumes"
    ),
    "worker": "engine errors inference models progress results runtime support volumes",
    "NNMambaBrainModels.brain_landmarks": (
        "NNMambaBrainModels NNMambaBrainModels.command_line NNMambaBrainModels.heads NNMambaBrainModels.synthesis "
        "engine evaluation export files inference models networks results training.calibration training.loop "
        "training.objectives volumes"
    ),
    "NNMambaBrainModels.brain_structures": (
        "NNMambaBrainModels NNMambaBrainModels.command_line NNMambaBrainModels.heads NNMambaBrainModels.synthesis "
        "engine export files models networks training.loop training.objectives volumes"
    ),
    "NNMambaBrainModels.brain_scan_check": (
        "NNMambaBrainModels NNMambaBrainModels.command_line NNMambaBrainModels.heads NNMambaBrainModels.synthesis "
        "engine evaluation export files inference models networks results runtime training.calibration training.loop "
        "training.objectives volumes"
    ),
    "NNMambaBrainModels": "NNMambaBrainModels.command_line networks training.loop training.objectives",
    "NNMambaBrainModels.synthesis": "NNMambaBrainModels.heads inference models",
    "NNMambaBrainModels.heads": "NNMambaBrainModels.command_line files models runtime volumes",
    "NNMambaBrainModels.command_line": "",
    "training": (
        "NNMambaLib errors file_names files inference models networks plain_files progress results runtime strict_json "
        "training.configuration training.data training.loop training.objectives training.tasks volumes"
    ),
    "training.tasks": (
        "errors evaluation inference models networks training.calibration training.configuration "
        "training.data training.objectives training.validation_picture volumes"
    ),
    "training.calibration": "models",
    "training.validation_picture": "export files models training.data volumes",
    "training.data": (
        "errors evaluation export files inference models plain_files runtime strict_json training.configuration volumes"
    ),
    "training.configuration": "errors file_names models networks plain_files strict_json training.loop volumes",
    "training.loop": "errors files networks networks.scan plain_files runtime training.objectives",
    "training.objectives": "errors networks",
    "support": (
        "NNMambaLib engine errors inference models networks networks.convolution networks.scan progress runtime volumes"
    ),
    "engine": (
        "errors inference models networks networks.convolution networks.folding networks.scan progress "
        "results runtime volumes"
    ),
    "scene": "errors export files models results runtime volumes",
    "inference": (
        "NNMambaLib errors evaluation export files kernels models networks networks.scan progress results "
        "runtime volumes"
    ),
    "evaluation": "errors export file_names files plain_files strict_json volumes",
    "export": "errors files models plain_files results runtime strict_json volumes",
    "results": "models volumes",
    "models.imports": "NNMambaLib errors models networks plain_files runtime strict_json volumes",
    "models": "errors file_names file_placement files networks plain_files runtime strict_json volumes",
    "volumes": "errors file_names files runtime",
    "networks.folding": "networks networks.convolution networks.scan",
    "networks": "errors networks.convolution networks.scan",
    "networks.scan": "errors kernels networks.convolution runtime",
    "networks.convolution": "",
    "progress": "errors",
    "files": "errors file_names file_placement",
    "file_placement": "errors runtime",
    "file_names": "errors",
    "plain_files": "errors runtime",
    "runtime": "errors",
    "strict_json": "",
    "kernels": "",
    "errors": "",
    "NNMambaLib": "",
}

# What a function imports, by the reason why its file does not.
INSIDE_FUNCTIONS = {
    "A former name is looked up only by those who use it.": """
        networks.variants: networks.state_dicts warnings
    """,
    "What a command runs is imported when it runs: help and wrong options need no torch, SimpleITK or Slicer.": """
        commands.arguments: engine
        commands.batch: batch.find_cases batch.parts batch.plan batch.record batch.run_case batch.summary
        commands.batch: batch.supervisor runtime.memory torch
        commands.benchmark: networks.scan.selective_scan support.speed torch
        commands.console: rich.console rich.progress
        commands.demo: scene.headless scene.result_picture scene.results scene.volumes volumes.files
        commands.import_model: models.imports.importer models.imports.names models.imports.questions
        commands.random_model: support.random_package
        commands.run_model: inference.memory_plan volumes.files
        commands.train: training.configuration training.plan_words training.setting_words training.train_folder
    """,
    "Slicer loads every module's file when it starts: the library waits until a panel or a script needs it.": """
        NNMamba: SampleData models.catalogue networks.scan.selective_scan panel.hub.panel
        NNMambaClassify: models.catalogue panel.classify panel.lifecycle panel.run_from_script panel.task_panel scene
        NNMambaClassify: scene.classifications support.random_package volumes.files worker.job
        NNMambaLandmarks: models.catalogue panel.landmarks panel.lifecycle panel.run_from_script panel.task_panel scene
        NNMambaLandmarks: support.random_package volumes.files worker.job
        NNMambaSegment: models.catalogue panel.lifecycle panel.run_from_script panel.segment panel.task_panel scene
        NNMambaSegment: volumes.files worker.job
    """,
    "Slicer's process reads packages and results, and never imports torch: only the engine's process gets here.": """
        batch.run_case: engine
        batch.worker: torch
        cli: commands.program
        models.package: models.weights
        panel.run_from_script: engine
        panel.shared_worker: panel.qt_transport qt
        support.machine_report: networks.convolution networks.scan.causal_convolution networks.scan.selective_scan
        support.machine_report: runtime.devices torch
        volumes.dicom_header: pydicom
        volumes.files: volumes.dicom_series
        worker.process: engine inference.warm_up
        worker.questions: support.machine_report
    """,
    "Optional: numba compiles when its kernels are imported, and the engine runs without it.": """
        kernels.availability: kernels.labels kernels.scan
        networks.scan.cuda_scans: kernels.cuda_convolution kernels.cuda_gated_scan kernels.cuda_launch
        networks.scan.gated_scans: kernels.gated_scan kernels.stack_memory
        networks.scan.numba_backend: kernels.scan kernels.scan_gradient kernels.stack_memory
    """,
    "Optional: accelerators, which are used where they can be imported and agree.": """
        networks.scan.causal_convolution: causal_conv1d
        networks.scan.mamba_ssm_backend: mamba_ssm.ops.selective_scan_interface
    """,
    "Optional: what the extras train, evaluate and brain-models bring, and only this function needs.": """
        NNMambaBrainModels.brain_landmarks.picture: matplotlib.figure
        NNMambaBrainModels.brain_scan_check.picture: PIL matplotlib.backends.backend_agg matplotlib.figure
        NNMambaBrainModels.brain_structures.picture: matplotlib.figure
        NNMambaBrainModels.brain_structures.picture_samples: matplotlib.figure
        NNMambaBrainModels.heads.samseg_atlas: nibabel samseg
        evaluation.classification: sklearn.metrics
        evaluation.reliability_plot: matplotlib.figure
        evaluation.segmentation: monai.metrics torch
        evaluation.summary: scipy.stats
        training.calibration: scipy.optimize
        training.data.augmentation: monai.data monai.transforms
        training.loop.curves: matplotlib.figure
        training.objectives.segmentation: monai.losses
        training.validation_picture: matplotlib.figure
    """,
    "Slicer's libraries come with Slicer or with the extra scene; without them the file can still be imported.": """
        export.four_views: vtk vtk.util.numpy_support
        scene.geometry: vtk vtk.util.numpy_support
        scene.headless: slicer vtk
        scene.nodes: slicer
        scene.rendering: slicer vtk vtk.util.numpy_support
        scene.segmentations: slicer
        scene.tables: vtk
        scene.volumes: vtk vtk.util.numpy_support
    """,
    "Slicer has these only in some versions, or only after the set-up.": """
        models.manifest_file: jsonschema jsonschema.exceptions
        panel.hub.engine_section: psutil
        panel.hub.installer: PyTorchUtils slicer.packaging
        support.machine_report: psutil runtime.memory
    """,
    "Windows does not have it.": """
        runtime.memory: resource
    """,
    "SimpleITK takes half a second to start, which panels and results do without.": """
        export.explanation_picture: SimpleITK
        export.thumbnail: SimpleITK
        volumes.dicom_compression: SimpleITK
    """,
    "Asked for once in a while, and not by Slicer's process.": """
        worker.questions: models.installation
    """,
    "Tasks are known to Slicer's process and to the command line's help: what a run or a file takes waits for it.": """
        inference.answers: torch
        inference.classification: evaluation.report export.classification_report export.segmentation_file
        inference.classification: inference.memory_plan inference.occlusion torch volumes.files volumes.resampling
        inference.landmarks: evaluation.report export.markups_file export.thumbnail inference.memory_plan
        inference.landmarks: inference.sliding_window inference.tile_predictor torch
        inference.segmentation: evaluation.report export.segmentation_file export.thumbnail inference.back_to_grid
        inference.segmentation: inference.memory_plan inference.sliding_window inference.tile_predictor volumes.files
        inference.task: export.thumbnail
    """,
}

# A former name hands on what has moved below it, or beside it: no arrow of the house.
FORMER_NAMES = {("networks.variants", "networks.state_dicts")}

PATHS = module_paths(ROOT)
IMPORTS = read_imports(ROOT)


def short(module):
    """Return a module's name as the tables have it."""
    return module.removeprefix("NNMambaLib.")


def row_of(module):
    """Return the row of `ARROWS` that a module belongs to."""
    return short(module) if short(module) in ARROWS else short(room_of(module, PATHS))


def arrows_of_this_repository():
    """Return the rows that each row imports."""
    found = {row_of(module): set() for module in PATHS}
    for each in IMPORTS:
        former = (short(each.importer), short(each.imported)) in FORMER_NAMES
        if each.imported in PATHS and not former and row_of(each.importer) != row_of(each.imported):
            found[row_of(each.importer)].add(row_of(each.imported))
    return found


def test_every_room_has_a_row_and_every_row_a_room():
    assert set(arrows_of_this_repository()) == set(ARROWS)


@pytest.mark.parametrize("row", ARROWS)
def test_a_room_imports_what_its_row_names_and_nothing_else(row):
    assert " ".join(sorted(arrows_of_this_repository()[row])) == ARROWS[row]


def test_arrows_lead_down():
    height = {row: -place for place, row in enumerate(ARROWS)}
    upward = [f"{row} -> {target}" for row in ARROWS for target in ARROWS[row].split() if height[target] >= height[row]]
    assert upward == []


def test_no_files_import_one_another_in_a_circle():
    arrows = defaultdict(set)
    for each in IMPORTS:
        if each.imported in PATHS and (short(each.importer), short(each.imported)) not in FORMER_NAMES:
            arrows[each.importer].add(each.imported)
    assert circles(arrows) == []


def test_former_names_are_still_handed_on():
    inside = {(short(each.importer), short(each.imported)) for each in IMPORTS if each.inside}
    assert inside >= FORMER_NAMES


def test_imports_inside_functions_are_those_that_have_a_reason():
    listed = [
        f"{line.split(':')[0].strip()} imports {module}"
        for lines in INSIDE_FUNCTIONS.values()
        for line in lines.strip().splitlines()
        for module in line.split(":")[1].split()
    ]
    found = {f"{short(each.importer)} imports {short(each.imported)}" for each in IMPORTS if each.inside}
    assert len(listed) == len(set(listed))
    assert sorted(found - set(listed)) == [], "to be listed above with a reason"
    assert sorted(set(listed) - found) == [], "listed above, and gone"


def importers_of(*distributions):
    """Return the rooms that import any of these, and the files whose row is their own."""
    return {row_of(each.importer) for each in IMPORTS if each.imported.split(".")[0] in distributions}


def test_only_the_kernels_import_numba():
    assert importers_of("numba", "llvmlite") == {"kernels"}


def test_only_panels_the_scene_and_the_modules_know_slicer():
    assert importers_of("slicer", "qt", "ctk") == {"modules", "panel.hub", "panel", "scene"}


def test_vtk_is_used_where_slicer_is_and_to_draw_four_views():
    drawn = {short(each.importer) for each in IMPORTS if each.imported.split(".")[0] == "vtk"}
    assert {name for name in drawn if name.split(".")[0] not in ("panel", "scene")} == {"export.four_views"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("NNMambaLib.cli", ("torch", "SimpleITK", "slicer", "vtk")),
        # Slicer's process holds results and puts them into the scene; torch is the worker's.
        ("NNMambaLib.scene.volumes", ("torch",)),
        ("NNMambaLib.worker.client", ("torch",)),
        ("NNMambaLib.models.installation", ("torch", "SimpleITK")),
    ],
)
def test_importing_stays_light(module, heavy):
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "NNMamba")},
    )
    assert result.stdout.strip() == "[]", result.stderr
