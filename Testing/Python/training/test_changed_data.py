"""Data that change between two runs of a training are noticed, and prepared anew, whatever state the training is in."""

import json
import shutil

import numpy as np
import pytest

from helpers.training_folders import LABELS, write_configuration, write_description, write_segmentation_folder
from NNMambaLib.cli import main
from NNMambaLib.training import preparation, train_folder
from NNMambaLib.training.data.prepared import open_case
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("monai", reason="the extra train is not installed")
pytest.importorskip("matplotlib", reason="the extra train is not installed")

SMALL = {
    "base_width": 1, "patch": [16, 16, 16], "spacing": [7.0, 7.0, 7.0], "steps": 2, "checkpoint_every": 1,
    "validate_every": 2, "validation_fraction": 0, "deep_supervision": False, "augment": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_segmentation_folder(tmp_path_factory.mktemp("data") / "data", channels=("T1",))


@pytest.fixture
def data(original, tmp_path):
    return shutil.copytree(original, tmp_path / "data")


@pytest.fixture
def train(data, tmp_path, capsys):
    """Return a function that trains and returns the exit code and what was said, without progress."""

    def run(*more):
        config = write_configuration(tmp_path / "configuration.json", **SMALL)
        files = ["--data", str(data), "--output", str(tmp_path / "run"), "--config", str(config)]
        code = main(["train", "segmentation", *files, "--device", "cpu", "--backend", "torch", *more])
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("Note: ", "nnmamba: "))]
        # Noted because tests are fast at a coarse spacing.
        said = [line for line in said if "voxels thick" not in line]
        return code, said

    return run


def kill_while_preparing(patch):
    really, done = preparation.prepare_case, []

    def prepare(*arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(really(*arguments))

    patch.setattr(preparation, "prepare_case", prepare)


def kill_before_the_first_step(patch):
    def run(*arguments, **more):
        raise KeyboardInterrupt

    patch.setattr(train_folder.Trainer, "run", run)


def kill_after_a_step(patch):
    def write(history, path):
        raise KeyboardInterrupt

    patch.setattr(train_folder, "write_curves", write)


def empty_a_label(data):
    """Replace a label file by one without the lesion, of the same size and time."""
    path = data / "labelsTr" / "case1.nii.gz"
    labels = read_volume(path)
    path.unlink()
    write_volume(Volume(np.minimum(labels.array, 1), labels.matrix), path)


ANEW = "they are prepared anew"


@pytest.mark.parametrize(
    ("kill", "and_then", "words"),
    [
        (kill_while_preparing, None, f"{ANEW}."),
        (kill_before_the_first_step, None, f"{ANEW}."),
        (kill_after_a_step, None, f"{ANEW}, and the steps done were trained on what they were, unless you start again"),
        (kill_after_a_step, "checkpoint.pt", f"{ANEW}."),
    ],
)
def test_a_label_file_that_was_replaced_is_noticed_and_learnt_from(
    data, train, tmp_path, monkeypatch, kill, and_then, words
):
    with monkeypatch.context() as patch:
        kill(patch)
        assert train()[0] == 130
    empty_a_label(data)
    if and_then:
        (tmp_path / "run" / and_then).unlink()
    with monkeypatch.context() as patch:
        kill_after_a_step(patch)
        code, said = train()
    assert code == 130
    assert said[0].startswith(f"Note: the data have changed since the training in {tmp_path / 'run'} began (case1): ")
    assert words in said[0]
    shown = [np.unique(open_case(tmp_path / "run" / "prepared", f"case{n}").reference["labels"]) for n in range(3)]
    assert [list(values) for values in shown] == [[0, 1, 2], [0, 1], [0, 1, 2]]


def test_a_finished_training_says_that_its_data_have_changed(data, train, tmp_path):
    assert train() == (0, ["Note: there is no validation: its metrics and picture will be missing."])
    assert train() == (0, [f"Note: {tmp_path / 'run'} was trained to its end before."])
    empty_a_label(data)
    report = tmp_path / "report.json"
    code, said = train("--json", str(report))
    assert code == 0
    assert "(case1): its model is of the data as they were, and --overwrite trains on the new." in said[0]
    assert len(json.loads(report.read_text(encoding="utf-8"))["notices"]) == 2


def test_outputs_are_not_given_other_names_in_the_midst_of_a_training(data, train, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after_a_step(patch)
        assert train()[0] == 130
    write_description(data, channels=("T1",), labels=LABELS | {"body": 2, "lesion": 1})
    code, said = train()
    assert code == 1
    assert "began (the labels): choose another folder, or start again (--overwrite)." in said[-1]
    (tmp_path / "run" / "checkpoint.pt").unlink()
    code, said = train()
    assert code == 0
    assert "began (the labels): they are prepared anew." in said[0]


def test_unchanged_cases_are_prepared_once(train, monkeypatch):
    with monkeypatch.context() as patch:
        kill_before_the_first_step(patch)
        assert train()[0] == 130
    written = []
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", lambda *arguments: written.append(arguments))
        kill_before_the_first_step(patch)
        code, said = train()
    assert code == 130
    assert not any(ANEW in line for line in said)
    assert written == []


def test_voxels_beside_their_header_count(data, train, tmp_path, monkeypatch):
    """A detached header stays the same when the voxels that it names are replaced."""
    for name, folder in (("case0_0000", "imagesTr"), ("case0", "labelsTr")):
        detach(data / folder / f"{name}.nii.gz")
    for number in (1, 2):
        (data / "imagesTr" / f"case{number}_0000.nii.gz").unlink()
        (data / "labelsTr" / f"case{number}.nii.gz").unlink()
    write_description(data, channels=("T1",), file_ending=".nhdr", numTraining=1)
    with monkeypatch.context() as patch:
        kill_before_the_first_step(patch)
        assert train()[0] == 130
        voxels = data / "labelsTr" / "case0.raw"
        voxels.write_bytes(np.minimum(np.fromfile(voxels, np.uint8), 1).tobytes())
        code, said = train()
    assert code == 130
    assert f"(case0): {ANEW}." in said[0]


def detach(path):
    """Write a volume as a header and the voxels beside it, in place of its file."""
    volume = read_volume(path)
    path.unlink()
    stem = path.name.removesuffix(".nii.gz")
    array = volume.array[0]
    array.astype("<f4" if array.dtype.kind == "f" else "u1").tofile(path.with_name(f"{stem}.raw"))
    columns = " ".join(f"({','.join(str(value) for value in volume.matrix[:3, axis])})" for axis in range(3))
    lines = [
        "NRRD0004",
        f"type: {'float' if array.dtype.kind == 'f' else 'uchar'}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in reversed(array.shape))}",
        f"space directions: {columns}",
        f"space origin: ({','.join(str(value) for value in volume.matrix[:3, 3])})",
        "endian: little",
        "encoding: raw",
        f"data file: {stem}.raw",
    ]
    path.with_name(f"{stem}.nhdr").write_text("\n".join(lines) + "\n", encoding="ascii")
