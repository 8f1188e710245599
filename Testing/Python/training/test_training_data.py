"""Data that cannot be used stop a training before it begins, with one sentence that names the file and the remedy."""

import json
import shutil

import numpy as np
import pytest

from helpers.training_folders import (
    LABELS,
    write_classes_folder,
    write_configuration,
    write_description,
    write_landmarks_folder,
    write_markups,
    write_segmentation_folder,
)
from NNMambaLib.cli import main
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.subjects import read_subjects, split_by_subject
from NNMambaLib.training.train_folder import TASKS
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("monai", reason="the extra train is not installed")
pytest.importorskip("matplotlib", reason="the extra train is not installed")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {
        "segmentation": write_segmentation_folder(folder / "segmentation"),
        "landmarks": write_landmarks_folder(folder / "landmarks"),
        "classification": write_classes_folder(folder / "classification"),
    }


@pytest.fixture
def refused(originals, tmp_path, capsys):
    """Return a function: damage a copy of a task's folder, train, and return the one sentence that it ends with."""

    def run(task, damage):
        data = shutil.copytree(originals[task], tmp_path / "data")
        damage(data)
        config = write_configuration(tmp_path / "configuration.json")
        output = tmp_path / "run"
        files = ["--data", str(data), "--output", str(output), "--config", str(config)]
        assert main(["train", task, *files, "--device", "cpu", "--backend", "torch"]) == 1
        assert not (output / "checkpoint.pt").exists()
        sentences = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nnmamba: ")]
        assert len(sentences) == 1
        assert sentences[0].endswith(".")
        return sentences[0]

    return run


def move(path, millimetres=3.0):
    """Move a volume, its voxels unchanged."""
    volume = read_volume(path)
    matrix = volume.matrix.copy()
    matrix[:3, 3] += millimetres
    path.unlink()
    write_volume(Volume(volume.array, matrix), path)


def relabel(path, value):
    volume = read_volume(path)
    volume.array[0, 0, 0, 0] = value
    path.unlink()
    write_volume(volume, path)


def describe(**changes):
    return lambda data: write_description(data, **changes)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda d: relabel(d / "labelsTr/case1.nii.gz", 7),
            "case1.nii.gz has the value 7, which dataset.json does",
        ),
        (lambda d: move(d / "labelsTr/case1.nii.gz"), "case1.nii.gz lies on another grid than case1_0000.nii.gz"),
        (
            lambda d: move(d / "imagesTr/case2_0001.nii.gz"),
            "case2_0001.nii.gz lies on another grid than case2_0000",
        ),
        (lambda d: (d / "labelsTr/case0.nii.gz").unlink(), "case0.nii.gz is missing: the case case0 lacks its label"),
        (
            lambda d: (d / "imagesTr/case0_0001.nii.gz").unlink(),
            "case0_0001.nii.gz is missing: the case case0 lacks",
        ),
        (lambda d: (d / "imagesTr/case0_0000.nii.gz").unlink(), "has no volume case0_0000.nii.gz in imagesTr"),
        (lambda d: (d / "imagesTr/case1_0000.nii.gz").write_bytes(b""), "case1_0000.nii.gz is empty: copy or export"),
        (lambda d: (d / "dataset.json").unlink(), "dataset.json is missing: give a raw data folder of nnU-Net v2"),
        (lambda d: (d / "dataset.json").write_text("{"), "dataset.json is not valid JSON"),
        (lambda d: shutil.rmtree(d / "imagesTr"), "There is no folder"),
        (describe(channel_names=None), "lacks 'channel_names' or has it in another form"),
        (describe(channel_names={"1": "T1"}), "has channel_names that do not count 0, 1, 2"),
        (describe(file_ending=".nrrd"), "imagesTr holds no files that end in _0000.nrrd"),
        (describe(labels={**LABELS, "whole": [1, 2]}), "has the label 'whole' [1, 2]: regions of several labels"),
        (describe(labels={**LABELS, "ignore": 3}), "has the label 'ignore' 3: regions"),
        (
            describe(labels={"background": 0, "body": 1, "lesion": 3}),
            "has label values that do not count 0",
        ),
        (describe(labels={"background": 0, "body": 1, "": 2}), "does not follow the schema at labels.1.name"),
        (describe(dataset={"case0": {}}), "lists its files by 'dataset', which is not supported"),
        (describe(numTraining=7), "dataset.json states 7 cases (numTraining) and imagesTr has 3: correct the number"),
        (describe(channels=("T1",)), "case0_0001.nii.gz is of a channel that dataset.json does not declare"),
        (describe(channel_names=None, modality={"0": "MR"}), "is of version 1 of nnU-Net ('modality'): convert"),
        (describe(file_ending="/../x"), "dataset.json has the file_ending '/../x': give volumes that end in .nrrd"),
        (
            describe(labels={"background": 0, "body\n": 1, "b": 2}),
            "at labels.0.name: 'body\\n' holds control characters",
        ),
        (describe(labels={"background": 0, "\ud800": 1, "b": 2}), "is not valid JSON (it holds the text '\\ud800'"),
        (describe(labels={"background": 0, "a": 10**400}), "is not valid JSON (it holds the number 1000"),
        (describe(channels=["x"] * 100_000), "has 100,000 channel_names, and at most 64 are read: remove some."),
        (describe(labels={str(n): n for n in range(2000)}), "has 2,000 labels, and at most 1,024 are read: join some."),
        (lambda d: (d / "dataset.json").write_text("[" * 100_000), "is not valid JSON (it is nested deeper than 64"),
    ],
)
def test_segmentation(refused, damage, sentence):
    assert sentence in refused("segmentation", damage)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda d: (d / "case1.mrk.json").unlink(),
            "case1.mrk.json is missing: the volume case1.nrrd lacks",
        ),
        (lambda d: (d / "case1.nrrd").unlink(), "case1.mrk.json has no volume of the same name"),
        (lambda d: (d / "case1.mrk.json").write_text("{}"), "case1.mrk.json is not a Slicer markups file"),
        (
            lambda d: write_markups(d / "case1.mrk.json", {"front": (0, 0, 0), "side": None}),
            "case1.mrk.json and case0.mrk.json have different landmarks, such as 'top'",
        ),
        (
            lambda d: write_markups(d / "case2.mrk.json", {"front": (0, 0, 900), "side": None, "top": None}),
            "case2.mrk.json has 'front' at 0.0, 0.0, 900.0 mm (LPS), outside case2.nrrd: correct it, or leave it",
        ),
        (
            lambda d: write_markups(d / "case2.mrk.json", {"front": (0, 0, float("nan")), "side": None, "top": None}),
            "case2.mrk.json has 'front' at [0.0, 0.0, nan], which is not a position",
        ),
        (
            lambda d: write_markups(d / "case1.mrk.json", {5: None, "side": None, "top": None}),
            "case1.mrk.json has a point with the label 5: name it in Slicer",
        ),
        (lambda d: [path.unlink() for path in d.iterdir()], "holds no files that end in .nrrd"),
    ],
)
def test_landmarks(refused, damage, sentence):
    assert sentence in refused("landmarks", damage)


def test_two_landmarks_of_one_name(refused):
    def damage(data):
        path = data / "case1.mrk.json"
        path.write_text(path.read_text().replace('"side"', '"front"'))

    assert "case1.mrk.json has two points named 'front': rename or remove one" in refused("landmarks", damage)


def table(*rows):
    return lambda data: (data / "classes.csv").write_text("\n".join(["case,class", *rows]))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            table("case0,a", "case1,a", "case2,b", "case3,b", "case4,c"),
            "classes.csv has a single case of 'c' in the column 'class': give at least two",
        ),
        (table(*(f"case{n},a" for n in range(5))), "classes.csv has 1 class in the column 'class'"),
        (
            table("case0.nii.gz,a", *(f"case{n}.nii.gz,b" for n in range(1, 5))),
            "classes.csv names the file 'case0.nii.gz' as a case: write 'case0', without the file's ending.",
        ),
        (
            table("case0,63", "case1,71.5", "case2,63", "case3,80", "case4,59"),
            "classes.csv has 4 different numbers in the column 'class', such as 63, which are a quantity and not",
        ),
        (
            lambda d: (d / "classes.csv").write_text("case;class\ncase0;a\n"),
            "classes.csv separates its columns by semicolons: save it as CSV with commas.",
        ),
        (table("case0,a"), "classes.csv has no row for the volume case1.nii.gz"),
        (table(*(f"case{n},a" for n in range(6))), "classes.csv names the case 'case5', which has no volume"),
        (lambda d: (d / "classes.csv").write_text("case\n" + "\n".join(f"case{n}" for n in range(5))), "has no column"),
        (lambda d: (d / "classes.csv").unlink(), "holds 0 tables (CSV) of classes: keep one"),
        (lambda d: shutil.rmtree(d), "There is no folder"),
        (
            lambda d: (
                write_volume(Volume(np.ones((2, 8, 8, 8), np.float32), np.eye(4)), d / "case5.nrrd")
                or (d / "classes.csv").open("a").write("case5,dark,\n")
            ),
            "case5.nrrd has 2 channels and case0.nii.gz 1: give all volumes the same channels",
        ),
    ],
)
def test_classification(refused, damage, sentence):
    assert sentence in refused("classification", damage)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("case,subject\ncase0,x\ncase9,y\n", "subjects.csv names the case 'case9', which is not in the folder"),
        ("case,subject\ncase0.nii.gz,x\n", "subjects.csv names the file 'case0.nii.gz' as a case: write 'case0'"),
        ("case,subject\ncase0,x\n", "subjects.csv has no subject for the case 'case1': add a row case,subject"),
        (
            "case,subject\n" + "".join(f"case{n},x\n" for n in range(5)),
            "None of the 1 subjects can be spared for validation",
        ),
    ],
)
def test_subjects(refused, text, sentence):
    assert sentence in refused("classification", lambda data: (data / "subjects.csv").write_text(text))


@pytest.mark.parametrize(
    ("task", "damage", "sentences"),
    [
        (
            "segmentation",
            lambda d: ((d / "labelsTr" / "case0.nii.gz").unlink(), (d / "imagesTr" / "case2_0001.nii.gz").unlink()),
            ["case0.nii.gz is missing: the case case0 lacks its label.", "the case case2 lacks the channel T2."],
        ),
        (
            "segmentation",
            lambda d: (relabel(d / "labelsTr" / "case0.nii.gz", 7), move(d / "labelsTr" / "case2.nii.gz")),
            ["case0.nii.gz has the value 7", "case2.nii.gz lies on another grid"],
        ),
        (
            "landmarks",
            lambda d: ((d / "case0.mrk.json").unlink(), (d / "case2.mrk.json").write_text("{")),
            ["case0.mrk.json is missing", "case2.mrk.json"],
        ),
        ("classification", table("case0,a", "case9,a", "case1,b"), ["case2.nii.gz: add one", "the case 'case9'"]),
    ],
)
def test_all_faults_are_told_in_one_line(refused, task, damage, sentences):
    said = refused(task, damage)
    assert "The data have" in said
    assert "(2) " in said
    for sentence in sentences:
        assert sentence in said


def test_of_many_faults_the_first_are_told(refused):
    said = refused("classification", table(*(f"other{number},a" for number in range(20))))
    assert "The data have 25 faults. (1) " in said
    assert "(10) " in said
    assert "(11) " not in said
    assert said.rstrip().endswith("And 15 more.")


def cases(*subjects):
    return [Case(f"case{number}", subject, (), None) for number, subject in enumerate(subjects)]


def test_a_subject_is_on_one_side_only():
    everyone = cases(*"aabbbcddee")
    split = split_by_subject(everyone, fraction=0.4, seed=3)
    subject = {case.name: case.subject for case in everyone}
    sides = [{subject[name] for name in side} for side in (split.training, split.validation)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 2
    assert sorted(split.training + split.validation) == sorted(subject)
    assert split == split_by_subject(everyone, fraction=0.4, seed=3)
    assert len({split_by_subject(everyone, fraction=0.4, seed=seed).validation for seed in range(9)}) > 3


def test_training_keeps_what_a_single_subject_shows():
    needed = {"case0": ["rare"], "case1": ["common"], "case2": ["common"], "case3": ["common"]}
    for seed in range(8):
        split = split_by_subject(cases(*"abcd"), fraction=0.75, seed=seed, needed=needed)
        assert "case0" in split.training
        assert len(split.validation) == 2


def test_without_a_table_each_case_is_a_subject(tmp_path):
    assert read_subjects(tmp_path, ["a", "b"]) == {"a": "a", "b": "b"}
    (tmp_path / "subjects.csv").write_text(json.dumps("case") + ",subject\na,1\nb,1\n")
    assert read_subjects(tmp_path, ["a", "b"]) == {"a": "1", "b": "1"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spacing": [0.001] * 3}, "At a spacing of 0.001 x 0.001 x 0.001 mm the largest volume has"),
        (
            {"batch_size": 4096, "patch": [1024] * 3},
            "A step with batch_size 4096, patch 1024x1024x1024 and base_width 4",
        ),
    ],
)
def test_settings_that_no_memory_can_hold_are_refused_before_anything_is_made(
    originals, tmp_path, capsys, changes, words
):
    config = write_configuration(tmp_path / "configuration.json", **changes)
    files = ["--data", str(originals["segmentation"]), "--output", str(tmp_path / "run"), "--config", str(config)]
    assert main(["train", "segmentation", *files, "--device", "cpu", "--backend", "torch"]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"nnmamba: {words}")
    assert "can be used" in message
    assert not (tmp_path / "run").exists()


def test_output_folders_name_that_is_too_long_is_refused(originals, tmp_path, capsys):
    files = ["--data", str(originals["segmentation"]), "--output", str(tmp_path / ("x" * 300))]
    assert main(["train", "segmentation", *files]) == 1
    assert "cannot be used (File name too long): choose another name." in capsys.readouterr().err


def test_files_that_macos_adds_to_archives_are_passed_over(originals, tmp_path):
    for task, files in {
        "segmentation": ("imagesTr/._case0_0000.nii.gz", "labelsTr/._case0.nii.gz", "imagesTr/._case0_0007.nii.gz"),
        "landmarks": ("._case0.nrrd", "._case0.mrk.json"),
        "classification": ("._case0.nii.gz", "._classes.csv"),
    }.items():
        data = shutil.copytree(originals[task], tmp_path / task)
        for file in files:
            (data / file).write_bytes(b"\0\5\x16\7")
        assert len(TASKS[task](data).cases) == len(TASKS[task](originals[task]).cases)


@pytest.mark.parametrize(
    ("task", "changes", "more", "sentence"),
    [
        (
            "segmentation",
            {"precision": "float16"},
            [],
            "precision is float16 and the device is cpu: choose bfloat16 or",
        ),
        ("segmentation", {}, ["--backend", "cuda"], "Unknown scan backend 'cuda': choose auto, mamba-ssm,"),
        ("segmentation", {}, ["--device", "abacus"], "The device 'abacus' cannot be used"),
        ("classification", {"variant": "SEG-CSS"}, [], "The task needs a classifier and SEG-CSS is not one: choose"),
        ("segmentation", {"variant": "SEG-NNU2"}, [], "The heads of SEG-NNU2 have 4 outputs and there are 3 labels"),
    ],
)
def test_means_that_are_not_to_be_had_are_refused_before_data_are_prepared(
    originals, tmp_path, capsys, task, changes, more, sentence
):
    config = write_configuration(tmp_path / "configuration.json", **changes)
    files = ["--data", str(originals[task]), "--output", str(tmp_path / "run"), "--config", str(config)]
    assert main(["train", task, *files, "--device", "cpu", "--backend", "torch", *more]) == 1
    said = capsys.readouterr().err.splitlines()
    assert sentence in said[-1]
    assert not any(line.startswith("Preparing") for line in said)
    # What the data need not decide is known before they are read.
    assert len(said) == 1 or changes == {"variant": "SEG-NNU2"}
    assert not (tmp_path / "run").exists()
