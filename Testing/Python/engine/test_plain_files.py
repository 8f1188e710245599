"""Every reader of text, JSON and tables takes files alone, and no larger ones than it states; no other is opened."""

import os

import pytest

from NNMambaLib.errors import ModelError, NNMambaError, OutputError, TrainingError, VolumeError
from NNMambaLib.evaluation.cases import case_rows, paired_classes
from NNMambaLib.export.markups_file import read_markups
from NNMambaLib.models.package import open_package
from NNMambaLib.plain_files import MAX_JSON_BYTES, MAX_TABLE_BYTES, read_text
from NNMambaLib.training.configuration import Configuration, read_configuration
from NNMambaLib.training.data.nnunet_folder import read_segmentation_folder
from NNMambaLib.training.data.subjects import read_subjects
from NNMambaLib.training.loop.checkpoint import read_checkpoint
from NNMambaLib.training.run_folder import RunFolder


def _predictions(path):
    paired_classes(path.parent, path.parent / "table.csv")


def _dataset(path):
    read_segmentation_folder(path.parent)


def _package(path):
    open_package(path.parent)


def _run(path):
    RunFolder(path.parent).check("segmentation", Configuration(), overwrite=False)


READERS = {
    "case.mrk.json": (read_markups, VolumeError, MAX_JSON_BYTES),
    "table.csv": (case_rows, VolumeError, MAX_TABLE_BYTES),
    "subjects.csv": (lambda path: read_subjects(path.parent, ["a"]), VolumeError, MAX_TABLE_BYTES),
    "case.json": (_predictions, VolumeError, MAX_JSON_BYTES),
    "dataset.json": (_dataset, VolumeError, MAX_JSON_BYTES),
    "settings.json": (read_configuration, TrainingError, 2**16),
    "settings.toml": (read_configuration, TrainingError, 2**16),
    "model.json": (_package, ModelError, 4 * 2**20),
    "run.json": (_run, OutputError, MAX_JSON_BYTES),
}
# Found by listing a folder, where what is no file is passed over.
LISTED = ("case.json", "dataset.json", "run.json")


def _refused(name, path):
    read, error, _ = READERS[name]
    with pytest.raises(error) as refused:
        read(path)
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", READERS)
def test_larger_files_than_are_stated_are_not_read(name, tmp_path, monkeypatch):
    path, largest = tmp_path / name, READERS[name][2]
    with path.open("wb") as file:
        # Nothing is written: only the size is there.
        file.truncate(largest + 1)
    monkeypatch.setattr("builtins.open", lambda *_args, **_options: pytest.fail("a file was opened"))
    message = _refused(name, path)
    assert name in message
    assert " KiB" in message or " MiB" in message


@pytest.mark.parametrize("name", [name for name in READERS if name not in LISTED])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("pipe", marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")),
        pytest.param("device", marks=pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no devices here")),
        "folder",
    ],
)
def test_what_is_no_file_is_not_opened(name, kind, tmp_path, monkeypatch):
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    monkeypatch.setattr(os, "open", lambda *_args, **_options: pytest.fail("it was opened"))
    message = _refused(name, path)
    assert str(path) in message
    assert any(words in message for words in ("is a folder", "is a pipe or a device", "is not a file"))


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_in_a_folder_are_passed_over(name, tmp_path):
    os.mkfifo(tmp_path / name)
    _refused(name, tmp_path / name)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no devices here")
def test_checkpoints_are_files(tmp_path):
    (tmp_path / "checkpoint.pt").symlink_to("/dev/zero")
    with pytest.raises(TrainingError, match="is a pipe or a device, not a file"):
        read_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no such files here")
def test_files_that_state_no_size_are_read_as_far_as_is_allowed():
    assert read_text("/proc/self/status", 2**16).startswith("Name:")
    with pytest.raises(NNMambaError, match="more than 10 bytes"):
        read_text("/proc/self/status", 10)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa\r\n".encode())
    assert read_text(tmp_path / "a.txt", 100) == "a\r\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_that_takes_the_place_of_a_file_meanwhile_is_not_waited_for(tmp_path, monkeypatch):
    path, really_stat = tmp_path / "a.txt", os.stat
    path.write_text("a")

    def stat_and_replace(*arguments, **options):
        status = really_stat(*arguments, **options)
        path.unlink()
        os.mkfifo(path)
        return status

    monkeypatch.setattr(os, "stat", stat_and_replace)
    with pytest.raises(VolumeError, match="is a pipe or a device, not a file"):
        read_text(path, 100)
