"""``nnmamba train`` from a folder of cases to a package that the other commands run."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from helpers.training_folders import (
    CONFIGURATION,
    LANDMARK_NAMES,
    write_classes_folder,
    write_configuration,
    write_landmarks_folder,
    write_markups,
    write_segmentation_folder,
)
from NNMambaLib.cli import main
from NNMambaLib.evaluation.report import report_landmarks
from NNMambaLib.models.package import open_package
from NNMambaLib.training import train_folder
from NNMambaLib.training.tasks.landmarks import LandmarksTask, Peaks
from NNMambaLib.volumes.files import read_volume

pytest.importorskip("monai", reason="the extra train is not installed")
pytest.importorskip("matplotlib", reason="the extra train is not installed")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A data folder for each task."""
    folder = tmp_path_factory.mktemp("data")
    return {
        "segmentation": write_segmentation_folder(folder / "segmentation"),
        "landmarks": write_landmarks_folder(folder / "landmarks"),
        "classification": write_classes_folder(folder / "classification"),
    }


def train(task, data, output, *more, **changes):
    config = write_configuration(output.with_suffix(".json"), **changes)
    files = ["--data", str(data), "--output", str(output), "--config", str(config)]
    return main(["train", task, *files, "--device", "cpu", "--backend", "torch", *more])


def curves(output):
    with (output / "curves.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_segmentation_of_the_training_runs_as_any_model(folders, tmp_path):
    output = tmp_path / "My run"
    assert train("segmentation", folders["segmentation"], output) == 0
    images = folders["segmentation"] / "imagesTr"
    inputs = [str(images / f"case0_{channel:04d}.nii.gz") for channel in range(2)]
    labels = tmp_path / "labels.nii.gz"
    assert main(["segment", *inputs, "--model", str(output), "--output", str(labels)]) == 0
    assert read_volume(labels).grid.matches(read_volume(inputs[0]).grid)

    manifest = open_package(output / "model").manifest
    assert manifest.name == "my-run"
    assert [(label.value, label.name) for label in manifest.labels] == [(1, "body"), (2, "lesion")]
    assert [channel.name for channel in manifest.input.channels] == ["T1", "T2"]
    assert manifest.provenance["configuration"]["steps"] == CONFIGURATION["steps"]
    assert manifest.metrics[0].name == "dice"
    assert [row["step"] for row in curves(output)] == ["2", "4"]
    assert float(curves(output)[-1]["dice"]) >= 0
    for name in ("curves.png", "validation.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    assert not (output / "prepared").exists()


def test_landmarks_of_the_training_run_as_any_model(folders, tmp_path):
    output, found = tmp_path / "run", tmp_path / "found.mrk.json"
    assert train("landmarks", folders["landmarks"], output) == 0
    volume = str(folders["landmarks"] / "case1.nrrd")
    assert main(["landmarks", volume, "--model", str(output / "model"), "--output", str(found)]) == 0
    points = json.loads(found.read_text(encoding="utf-8"))["markups"][0]["controlPoints"]
    assert [point["label"] for point in points] == list(LANDMARK_NAMES)
    assert "within 4 mm" in curves(output)[-1]
    assert (output / "validation.png").read_bytes().startswith(b"\x89PNG")


def test_the_radial_error_of_a_training_is_that_of_an_evaluation(folders, tmp_path):
    """Of landmarks that the package finds: an error at a peak too low to be one is not of a landmark."""
    peaks = Peaks(((0, 0, 0), (9, 0, 0), None), (1.0, 0.1, 0.0))
    references = [(0.0, 0.0, 2.0), (0.0, 0.0, 0.0), None]
    task = LandmarksTask(folders["landmarks"])
    metrics = task.metrics([(peaks, references)])
    decoding = task.sections([(peaks, references)])["heatmap"]
    found = [p if decoding.confidence(h) >= 0.5 else None for p, h in zip(peaks.positions, peaks.heights, strict=True)]
    for side, positions in (("prediction", found), ("reference", references)):
        (tmp_path / side).mkdir()
        write_markups(tmp_path / side / "case.mrk.json", dict(zip(LANDMARK_NAMES, positions, strict=True)))
    report = report_landmarks(tmp_path / "prediction", tmp_path / "reference").content
    assert metrics == {"radial error mm": report["all"]["radial_error_mm"]["mean"], "within 4 mm": 0.5}
    assert metrics["radial error mm"] == 2


@pytest.fixture
def opened(monkeypatch):
    """How often each file is opened from Python while the test runs, by its name."""
    names, really_open = Counter(), io.open

    def counting(file, *arguments, **options):
        names[Path(str(file)).name] += 1
        return really_open(file, *arguments, **options)

    for module in ("io", "builtins"):
        monkeypatch.setattr(f"{module}.open", counting)
    return names


def test_the_markups_of_a_case_are_read_once(folders, tmp_path, opened):
    changes = {"base_width": 1, "steps": 1, "checkpoint_every": 1, "validate_every": 1}
    assert train("landmarks", folders["landmarks"], tmp_path / "run", **changes) == 0
    markups = {name: count for name, count in opened.items() if name.endswith(".mrk.json")}
    assert markups == {f"case{number}.mrk.json": 1 for number in range(3)}


def test_a_classifier_of_the_training_runs_as_any_model(folders, tmp_path):
    output, answer = tmp_path / "run", tmp_path / "answer.json"
    assert train("classification", folders["classification"], output) == 0
    volume = str(folders["classification"] / "case0.nii.gz")
    assert main(["classify", volume, "--model", str(output / "model"), "--output", str(answer)]) == 0
    answers = json.loads(answer.read_text(encoding="utf-8"))["predictions"]
    assert {entry["target"]: sorted(entry["probabilities"]) for entry in answers} == {
        "class": ["bright", "dark"],
        "size": ["large", "small"],
    }
    assert "accuracy" in curves(output)[-1]


def killed_at(step):
    """Return what to write curves with, to be killed right after the checkpoint of a step."""

    def write(history, path):
        if history[-1].step == step:
            raise KeyboardInterrupt

    return write


@pytest.mark.parametrize("step", [2, 4])
def test_a_run_that_was_killed_is_resumed_and_ends_the_same(folders, tmp_path, monkeypatch, capsys, step):
    data = folders["classification"]
    assert train("classification", data, tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(train_folder, "write_curves", killed_at(step))
        assert train("classification", data, tmp_path / "parts") == 130
    assert not (tmp_path / "parts" / "model").exists()
    assert main(["models", "info", str(tmp_path / "parts")]) == 1
    assert f"{tmp_path / 'parts'} holds a training that has not ended: run its command" in capsys.readouterr().err
    assert train("classification", data, tmp_path / "parts") == 0
    assert f"Note: resumed from step {step}." in capsys.readouterr().err
    for name in ("curves.csv", "model/weights.safetensors", "split.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_finished_run_is_replaced_only_when_asked_for(folders, tmp_path, capsys):
    data, output = folders["classification"], tmp_path / "run"
    assert train("classification", data, output) == 0
    weights = (output / "model" / "weights.safetensors").read_bytes()
    assert train("classification", data, output) == 0
    assert "was trained to its end before" in capsys.readouterr().err
    assert train("classification", data, output, seed=1) == 1
    sentence = "holds a training with seed 0, not 1: choose another folder, or start again (--overwrite)."
    assert sentence in capsys.readouterr().err
    assert train("landmarks", folders["landmarks"], output) == 1
    assert 'holds a training with task "classification", not "landmarks"' in capsys.readouterr().err
    assert (output / "model" / "weights.safetensors").read_bytes() == weights
    assert train("classification", data, output, "--overwrite", seed=1) == 0
    assert (output / "model" / "weights.safetensors").read_bytes() != weights


def test_a_report_is_replaced_by_an_option_of_its_own_that_keeps_the_training(folders, tmp_path, capsys):
    data, output, report = folders["classification"], tmp_path / "run", tmp_path / "report.json"
    again = {"steps": 1, "checkpoint_every": 1, "validate_every": 1}
    assert train("classification", data, output, "--json", str(report), **again) == 0
    weights = output / "model" / "weights.safetensors"
    trained = weights.stat().st_mtime_ns
    for more in ([], ["--overwrite"]):
        assert train("classification", data, output, "--json", str(report), *more, **again) == 1
        sentence = (
            "report.json exists already: choose another name, or allow it to be overwritten (--overwrite-report)."
        )
        assert sentence in capsys.readouterr().err
    assert train("classification", data, output, "--json", str(report), "--overwrite-report", **again) == 0
    assert json.loads(report.read_text(encoding="utf-8"))["metrics"] == {}
    assert weights.stat().st_mtime_ns == trained


def test_a_run_is_not_resumed_on_data_that_changed(folders, tmp_path, monkeypatch, capsys):
    data = shutil.copytree(folders["classification"], tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr(train_folder, "write_curves", killed_at(2))
        assert train("classification", data, tmp_path / "run") == 130
    (data / "subjects.csv").write_text("case,subject\n" + "".join(f"case{n},{n // 2}\n" for n in range(5)))
    assert train("classification", data, tmp_path / "run") == 1
    assert "The data have changed since the training in" in capsys.readouterr().err


def test_a_folder_with_other_things_is_left_alone(folders, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    for more in ([], ["--overwrite"]):
        assert train("classification", folders["classification"], tmp_path / "run", *more) == 1
        assert "is not empty and holds no training: choose another folder." in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_without_validation_there_are_no_metrics(folders, tmp_path, capsys):
    changes = {"validation_fraction": 0, "augment": False, "optimizer": "sgd", "learning_rate": 1e-3}
    assert train("landmarks", folders["landmarks"], tmp_path / "run", **changes) == 0
    assert "there is no validation" in capsys.readouterr().err
    assert not (tmp_path / "run" / "validation.png").exists()
    manifest = open_package(tmp_path / "run" / "model").manifest
    assert (manifest.metrics, manifest.heatmap.slope, manifest.heatmap.intercept) == ((), 10, -3)


def test_spacing_patch_and_normalisation_come_from_the_data(tmp_path):
    data = write_segmentation_folder(tmp_path / "data", channels=("CT",))
    assert train("segmentation", data, tmp_path / "run", spacing=None, patch=None, steps=2, batch_size=2) == 0
    given = open_package(tmp_path / "run" / "model").manifest.input
    # Medians of the three cases' spacings along the patient's axes.
    assert given.spacing == pytest.approx((3.2, 3.3, 4.5), abs=0.31)
    assert given.patch == (48, 48, 32)
    normalization = given.channels[0].normalization
    assert normalization.kind == "ct"
    assert 0.5 < normalization.low < normalization.mean < normalization.high < 4.5


def test_missing_libraries_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "monai", None)
    assert train("segmentation", tmp_path, tmp_path / "run") == 1
    assert "Training needs monai: install nnmamba with the extra train." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    "NNMAMBA_TEST_TORCHRUN" not in os.environ,
    reason="passes alone; after the scene tests oneMKL sometimes fails to load in the processes started here",
)
def test_two_processes_train_together(folders, tmp_path):
    config = write_configuration(tmp_path / "configuration.json", steps=2, checkpoint_every=2, validate_every=2)
    output, report = tmp_path / "run", tmp_path / "report.json"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "NNMambaLib.cli"]
    files = ["--data", folders["segmentation"], "--output", output, "--config", config, "--json", report]
    command = [sys.executable, *torchrun, "train", "segmentation", *files, "--device", "cpu", "--backend", "torch"]
    # Not all of this process's environment: Slicer's and torch's libraries have set variables for themselves in it.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    environment |= {"PYTHONPATH": str(Path(train_folder.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Wrote ") == 1
    assert json.loads(report.read_text())["success"]
    assert len(curves(output)) == 1
    assert np.isfinite(float(curves(output)[0]["loss"]))
    open_package(output / "model").load()
