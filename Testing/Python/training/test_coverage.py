"""What no case shows is not trained in silence, and what one subject alone shows stays in training."""

import json
import shutil

import numpy as np
import pytest

from helpers.training_folders import (
    LABELS,
    LANDMARK_NAMES,
    write_classes_folder,
    write_configuration,
    write_description,
    write_landmarks_folder,
    write_markups,
    write_segmentation_folder,
)
from NNMambaLib.cli import main
from NNMambaLib.training import train_folder
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("monai", reason="the extra train is not installed")
pytest.importorskip("matplotlib", reason="the extra train is not installed")

SMALL = {"base_width": 1, "patch": [16, 16, 16], "spacing": [7.0, 7.0, 7.0], "deep_supervision": False}
CASES = ("case0", "case1", "case2")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {
        "segmentation": write_segmentation_folder(folder / "segmentation", channels=("T1",)),
        "landmarks": write_landmarks_folder(folder / "landmarks"),
        "classification": write_classes_folder(folder / "classification"),
    }


@pytest.fixture
def begin(originals, tmp_path, capsys, monkeypatch):
    """Return a function: change a copy of a task's folder, begin to train, and return what was said and the split."""

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    def run(task, change, **changes):
        monkeypatch.setattr(train_folder.Trainer, "run", stop)
        data, output = tmp_path / f"data{changes}", tmp_path / f"run{changes}"
        change(shutil.copytree(originals[task], data))
        config = write_configuration(tmp_path / "configuration.json", **SMALL, **changes)
        files = ["--data", str(data), "--output", str(output), "--config", str(config)]
        main(["train", task, *files, "--device", "cpu", "--backend", "torch"])
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("Note: ", "nnmamba: "))]
        # Noted because tests are fast at a coarse spacing.
        said = [line for line in said if "voxels thick" not in line]
        split = output / "split.json"
        return said[:-1] or said, json.loads(split.read_text(encoding="utf-8")) if split.exists() else None

    return run


def keep_labels(data, most, cases=CASES):
    """Empty all labels above a value in some cases."""
    for case in cases:
        path = data / "labelsTr" / f"{case}.nii.gz"
        labels = read_volume(path)
        path.unlink()
        write_volume(Volume(np.where(labels.array > most, 0, labels.array), labels.matrix), path)


def place(data, *defined):
    for case in CASES:
        positions = {name: (0, 0, 0) if name in defined else None for name in LANDMARK_NAMES}
        write_markups(data / f"{case}.mrk.json", positions)


@pytest.mark.parametrize(
    ("task", "change", "sentence"),
    [
        (
            "segmentation",
            lambda data: keep_labels(data, 0),
            "nnmamba: Of the labels (body, lesion) no case shows any: complete the references.",
        ),
        (
            "landmarks",
            place,
            "nnmamba: Of the landmarks (front, side, top) no case shows any: complete the references.",
        ),
    ],
)
def test_references_that_show_nothing_are_refused(begin, task, change, sentence):
    assert begin(task, change) == ([sentence], None)


@pytest.mark.parametrize(
    ("task", "change", "sentences"),
    [
        (
            "segmentation",
            lambda data: keep_labels(data, 1),
            ["Note: of the labels, no case shows lesion: that cannot be learnt."],
        ),
        (
            "segmentation",
            lambda data: write_description(data, ("T1",), labels={**LABELS, "vessel": 3, "bone": 4}),
            ["Note: of the labels, no case shows vessel, bone: that cannot be learnt."],
        ),
        (
            "landmarks",
            lambda data: place(data, "front"),
            ["Note: of the landmarks, no case shows side, top: that cannot be learnt."],
        ),
    ],
)
def test_what_no_case_shows_is_noted(begin, task, change, sentences):
    said, split = begin(task, change)
    assert said == sentences
    assert split is not None


@pytest.mark.parametrize("lone", CASES)
def test_a_label_of_one_subject_stays_in_training(begin, lone):
    others = [case for case in CASES if case != lone]
    said, split = begin("segmentation", lambda data: keep_labels(data, 1, others), seed=1)
    assert lone in split["training"]
    assert len(split["validation"]) == 1
    assert said == ["Note: of the labels, no validation case shows lesion: that is not measured."]


def test_a_class_of_one_subject_stays_in_training(begin):
    def lone(data):
        (data / "subjects.csv").write_text("case,subject\ncase0,a\ncase1,b\ncase2,c\ncase3,b\ncase4,d\n")

    for seed in range(4):
        _, split = begin("classification", lone, seed=seed)
        assert {"case1", "case3"} <= set(split["training"])  # the bright ones
