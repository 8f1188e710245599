"""``nnmamba evaluate`` from files to a report."""

import json

import numpy as np
import pytest

from NNMambaLib.cli import main
from NNMambaLib.volumes.files import write_volume
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("monai", reason="the extra evaluate is not installed")


@pytest.fixture
def folders(tmp_path):
    for name in ("prediction", "reference"):
        (tmp_path / name).mkdir()
    return tmp_path / "prediction", tmp_path / "reference"


def evaluate(task, folders, output, *more):
    prediction, reference = folders
    files = ["--prediction", str(prediction), "--reference", str(reference), "--output", str(output)]
    return main(["evaluate", task, *files, *more])


def write_cube(path, first):
    array = np.zeros((1, 10, 10, 10), np.uint8)
    array[0, first : first + 4, 3:7, 3:7] = 1
    write_volume(Volume(array, np.eye(4)), path)


def write_points(path, system="LPS", **points):
    controls = [
        {"label": name, "position": position or [0, 0, 0], "positionStatus": "defined" if position else "undefined"}
        for name, position in points.items()
    ]
    path.write_text(json.dumps({"markups": [{"coordinateSystem": system, "controlPoints": controls}]}))


def answer(p, predicted, classes=("T1", "T2"), target="contrast"):
    return {"target": target, "probabilities": dict(zip(classes, (1 - p, p), strict=True)), "predicted": predicted}


def write_answers(path, *answers):
    path.write_text(json.dumps({"predictions": answers}))


@pytest.mark.filterwarnings("error")
def test_segmentation(folders, tmp_path, capsys):
    prediction, reference = folders
    for case, first in (("a", 3), ("b", 4)):
        write_cube(prediction / f"{case}.nii.gz", first)
        write_cube(reference / f"{case}.nrrd", 3)
    assert evaluate("segmentation", folders, tmp_path / "report.json") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert [report["cases"][case]["1"]["dice"] for case in "ab"] == [1, 0.75]
    assert report["labels"]["1"]["dice"]["mean"] == pytest.approx(0.875)
    printed = capsys.readouterr().out
    assert "0.875" in printed
    assert "In brackets: the mean's 95 % bootstrap interval" in printed


def test_landmarks_in_ras_and_lps(folders, tmp_path):
    prediction, reference = folders
    write_points(prediction / "a.mrk.json", AC=[1, 2, 3], PC=None)
    write_points(reference / "a.mrk.json", system="RAS", AC=[-1, -2, 5], PC=[0, 0, 0])
    assert evaluate("landmarks", folders, tmp_path / "report.json") == 0
    landmarks = json.loads((tmp_path / "report.json").read_text())["landmarks"]
    assert landmarks["AC"]["radial_error_mm"]["mean"] == 2
    assert landmarks["PC"] == {
        "radial_error_mm": {"mean": None, "median": None, "low": None, "high": None, "count": 0, "without": 0},
        "success_rate": {"2": 0, "2.5": 0, "3": 0, "4": 0},
        "missed": 1,
        "false": 0,
    }


def test_classification_with_a_reliability_plot(folders, tmp_path, capsys):
    prediction, reference = folders
    for case, p in (("a", 0.9), ("b", 0.2), ("c", 0.7)):
        write_answers(prediction / f"{case}.json", answer(p, "T2" if p > 0.5 else "T1"))
    (reference / "classes.csv").write_text("case, class\na, T2\nb, T1\nc, T1\n")
    plot = tmp_path / "reliability.png"
    assert evaluate("classification", folders, tmp_path / "report.json", "--plot", str(plot)) == 0
    target = json.loads((tmp_path / "report.json").read_text())["targets"]["contrast"]
    assert target["accuracy"] == pytest.approx(2 / 3)
    assert target["binary"]["auc"] == 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "In brackets" not in capsys.readouterr().out


def test_the_models_own_threshold_decides_what_was_predicted(folders, tmp_path):
    prediction, reference = folders
    for case, p in (("a", 0.9), ("b", 0.6)):
        # The threshold was 0.8.
        write_answers(prediction / f"{case}.json", answer(p, "T2" if p > 0.8 else "T1"))
    (reference / "classes.csv").write_text("case,class\na,T2\nb,T1\n")
    assert evaluate("classification", folders, tmp_path / "report.json") == 0
    target = json.loads((tmp_path / "report.json").read_text())["targets"]["contrast"]
    assert (target["accuracy"], target["binary"]["specificity"]) == (1, 1)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"command": "classify", "success": true}',
        '{"predictions": []}',
        '{"predictions": [{"target": "contrast"}]}',
        '{"predictions": [{"target": "contrast", "probabilities": {"T1": 1, "T2": 0}, "predicted": "T3"}]}',
    ],
)
def test_other_json_among_the_predictions_is_named(folders, tmp_path, capsys, content):
    prediction, reference = folders
    write_answers(prediction / "a.json", answer(0.9, "T2"))
    (prediction / "b.json").write_text(content)
    (reference / "classes.csv").write_text("case,class\na,T2\nb,T1\n")
    assert evaluate("classification", folders, tmp_path / "report.json") == 1
    assert f"{prediction / 'b.json'} holds no predictions of nnmamba classify" in capsys.readouterr().err


@pytest.mark.parametrize("other", [{"classes": ("T1", "FLAIR")}, {"target": "sequence"}])
def test_predictions_of_two_models_are_refused(folders, tmp_path, capsys, other):
    prediction, reference = folders
    write_answers(prediction / "a.json", answer(0.9, "T2"))
    write_answers(prediction / "b.json", answer(0.1, "T1", **other))
    (reference / "classes.csv").write_text("case,class\na,T2\nb,T1\n")
    assert evaluate("classification", folders, tmp_path / "report.json") == 1
    assert "b.json has other targets or classes than" in capsys.readouterr().err


@pytest.mark.parametrize("side", [0, 1])
def test_a_case_in_two_files_is_refused(folders, tmp_path, capsys, side):
    for folder in folders:
        write_cube(folder / "head.nii.gz", 3)
    write_cube(folders[side] / "head.nrrd", 4)
    assert evaluate("segmentation", folders, tmp_path / "report.json") == 1
    assert "holds the case head twice, as head.nii.gz and head.nrrd: remove one" in capsys.readouterr().err


def test_a_case_in_two_rows_is_refused(folders, tmp_path, capsys):
    prediction, reference = folders
    write_answers(prediction / "a.json", answer(0.9, "T2"))
    (reference / "classes.csv").write_text("case,class\na,T2\na,T1\n")
    assert evaluate("classification", folders, tmp_path / "report.json") == 1
    assert "classes.csv has two rows for the case 'a': remove one" in capsys.readouterr().err


def test_a_table_that_is_not_utf8_is_refused(folders, tmp_path, capsys):
    prediction, reference = folders
    write_answers(prediction / "a.json", answer(0.9, "T2"))
    (reference / "classes.csv").write_bytes("case,class\nä,T2\n".encode("latin-1"))
    assert evaluate("classification", folders, tmp_path / "report.json") == 1
    assert "classes.csv is not text in UTF-8: save it again as UTF-8" in capsys.readouterr().err


def test_cases_must_be_the_same_on_both_sides(folders, tmp_path, capsys):
    prediction, reference = folders
    write_cube(prediction / "a.nii.gz", 3)
    for case in "ab":
        write_cube(reference / f"{case}.nii.gz", 3)
    assert evaluate("segmentation", folders, tmp_path / "report.json") == 1
    assert "lacks 1 cases, first b" in capsys.readouterr().err
    assert not (tmp_path / "report.json").exists()


def test_a_class_that_the_model_does_not_know_is_named(folders, tmp_path, capsys):
    prediction, reference = folders
    write_answers(prediction / "a.json", answer(0.5, "T1"))
    (reference / "classes.csv").write_text("case,class\na,FLAIR\n")
    assert evaluate("classification", folders, tmp_path / "report.json") == 1
    assert "'FLAIR'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"predictions": [{"target": "t", "probabilities": {"T1": NaN}, "predicted": "T1"}]}', "holds NaN"),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ('{"predictions": [{"target": "\\ud800"}]}', "not valid Unicode"),
        ('{"predictions": [{"target": "t", "probabilities": {"T1": 1' + "0" * 400 + "}}]}", "too large"),
    ],
)
def test_predictions_that_are_not_json_are_named(folders, tmp_path, capsys, content, reason):
    prediction, reference = folders
    (prediction / "a.json").write_text(content)
    (reference / "classes.csv").write_text("case,class\na,T1\n")
    assert evaluate("classification", folders, tmp_path / "report.json") == 1
    message = capsys.readouterr().err
    assert message.startswith(f"nnmamba: {prediction / 'a.json'} is not valid JSON (")
    assert reason in message
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize("tolerance", ["nan", "inf", "-1", "1e9"])
def test_tolerance_out_of_range_is_refused(folders, tmp_path, capsys, tolerance):
    for folder in folders:
        write_cube(folder / "a.nii.gz", 3)
    assert evaluate("segmentation", folders, tmp_path / "report.json", f"--tolerance={tolerance}") == 1
    assert "must be at least 0 and at most 1000 mm" in capsys.readouterr().err
    assert not (tmp_path / "report.json").exists()


def test_files_that_macos_adds_to_archives_are_no_cases(folders, tmp_path):
    prediction, reference = folders
    write_answers(prediction / "a.json", answer(0.9, "T2"))
    (prediction / "._a.json").write_bytes(b"\0\5\x16\7")
    (reference / "classes.csv").write_text("case,class\na,T2\n")
    (reference / "._classes.csv").write_bytes(b"\0\5\x16\7")
    assert evaluate("classification", folders, tmp_path / "report.json") == 0
    assert json.loads((tmp_path / "report.json").read_text())["cases"] == ["a"]
