"""Voxels far beyond all others are warned of before a training, and a validation that fails never ends one."""

import json

import numpy as np
import pytest

from helpers.training_folders import (
    write_classes_folder,
    write_configuration,
    write_landmarks_folder,
    write_segmentation_folder,
)
from NNMambaLib.cli import main
from NNMambaLib.models.package import open_package
from NNMambaLib.training.data.outliers import outlier_notice
from NNMambaLib.training.data.subjects import split_by_subject
from NNMambaLib.training.tasks.classification import ClassificationTask
from NNMambaLib.training.tasks.landmarks import LandmarksTask
from NNMambaLib.training.tasks.segmentation import SegmentationTask
from NNMambaLib.volumes.files import read_volume, write_volume

pytest.importorskip("monai", reason="the extra train is not installed")
pytest.importorskip("matplotlib", reason="the extra train is not installed")

FOLDERS = {
    "segmentation": (write_segmentation_folder, SegmentationTask),
    "landmarks": (write_landmarks_folder, LandmarksTask),
    "classification": (write_classes_folder, ClassificationTask),
}
SMALL = {
    "base_width": 1, "patch": [16, 16, 16], "spacing": [7.0, 7.0, 7.0], "steps": 2, "checkpoint_every": 1,
    "validate_every": 1, "deep_supervision": False, "augment": False, "normalization": "none",
}  # fmt: skip


@pytest.fixture
def trained(tmp_path, capsys):
    """Return a function that trains and returns what was noted; the package must be there in the end."""

    def run(task, data, **changes):
        config = write_configuration(tmp_path / "configuration.json", **SMALL, **changes)
        files = ["--data", str(data), "--output", str(tmp_path / "run"), "--config", str(config)]
        assert main(["train", task, *files, "--device", "cpu", "--backend", "torch"]) == 0
        open_package(tmp_path / "run" / "model").load()
        notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Note: ")]
        # Noted because tests are fast at a coarse spacing.
        return [note for note in notes if "voxels thick" not in note]

    return run


@pytest.mark.parametrize("task", FOLDERS)
def test_an_outlier_is_warned_of_and_its_validation_is_left_out(tmp_path, trained, task):
    write, read = FOLDERS[task]
    data = write(tmp_path / "data")
    content = read(data)
    shown = {case.name: content.check(case, read_volume(case.channels[0])).items for case in content.cases}
    split = split_by_subject(content.cases, 0.34, 0, shown)
    case = next(case for case in content.cases if case.name == split.validation[0])
    volume = read_volume(case.channels[0])
    volume.array[0, 3, 4, 5] = 1e30
    case.channels[0].unlink()
    write_volume(volume, case.channels[0])

    notes = [note for note in trained(task, data) if "is not measured" not in note]
    assert notes[0].startswith(f"Note: {case.channels[0].name}") or f" of {case.channels[0].name} has" in notes[0]
    assert "has 1 voxel far beyond all others (the first is 1e+30 at 5, 4, 3 (x, y, z), and nearly all are" in notes[0]
    assert "replace them, for example by the background's value, or set normalization to percentile." in notes[0]
    assert notes[1].startswith(
        f"Note: the validation of {case.name} failed, and is left out (The network's outputs are"
    )
    assert len(notes) == 2
    metrics = open_package(tmp_path / "run" / "model").manifest.metrics
    assert bool(metrics) == (len(split.validation) > 1)


def test_a_validation_without_memory_ends_no_training(tmp_path, trained, monkeypatch):
    def predict(*arguments):
        raise MemoryError

    monkeypatch.setattr(SegmentationTask, "predict", predict)
    notes = trained("segmentation", write_segmentation_folder(tmp_path / "data"))
    assert len(notes) == 1
    assert notes[0].endswith("failed, and is left out (MemoryError).")


def test_metrics_that_are_no_numbers_are_left_out_of_the_package(tmp_path, trained, monkeypatch):
    monkeypatch.setattr(LandmarksTask, "metrics", lambda self, scores: {"error": float("nan"), "found": 0.5})
    assert trained("landmarks", write_landmarks_folder(tmp_path / "data")) == []
    metrics = json.loads((tmp_path / "run" / "model" / "model.json").read_text(encoding="utf-8"))["metrics"]
    assert [metric["name"] for metric in metrics] == ["found"]


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("shape", [(8, 8, 8), (40, 50, 60)])
def test_outliers_among_ordinary_voxels(shape, dtype):
    values = np.random.default_rng(3).normal(40, 20, shape).astype(dtype)
    values[:, 2:, :] = 0  # cut out: most voxels have one value
    assert outlier_notice(values, "a") is None
    values[1, 0, 2] = -30_000
    assert "has 1 voxel far beyond all others (the first is -30000 at 2, 0, 1 (x, y, z)" in outlier_notice(values, "a")
    values[2, 0, 2] = 30_000
    assert "has 2 voxels far beyond" in outlier_notice(values, "a")


def test_metal_is_no_outlier():
    values = np.random.default_rng(3).normal(40, 20, (40, 50, 60))
    values[0, 0, :7] = 4000
    assert outlier_notice(values, "a") is None


def test_a_constant_volume_has_no_outliers():
    assert outlier_notice(np.zeros((4, 4, 4), np.float32), "a") is None
