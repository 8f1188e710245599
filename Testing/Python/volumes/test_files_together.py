"""The files of one job: all of them are new, or all of them are those of before."""

import errno
import json
import os
import signal
import stat
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from helpers.failing_renames import fail_at, refuse_links
from helpers.full_disk import largest_file, silent_loss  # noqa: F401
from helpers.phantoms import bright_points, grid_matrix, sample
from NNMambaLib import cli
from NNMambaLib.errors import OutputError
from NNMambaLib.files import atomic_file, atomic_folder, check_writable, files_together, remove_file, write_text
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

_NAMES = ("labels.txt", "probabilities.txt", "report.txt")


def write_all(folder, fail=None):
    with files_together():
        for name in _NAMES:
            with atomic_file(folder / name) as temporary:
                temporary.write_text("new")
                if fail is not None and name == _NAMES[-1]:
                    raise fail


def write_texts(folder, *texts):
    with files_together():
        for name, text in zip(_NAMES, texts, strict=True):
            write_text(text, folder / name)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture(params=[True, False], ids=["links", "no links"])
def old(tmp_path, monkeypatch, request):
    """A folder with the files of an earlier job, on a file system with hard links or without."""
    for name in _NAMES:
        (tmp_path / name).write_text("old")
    if not request.param:
        refuse_links(monkeypatch)
    return tmp_path


def test_nothing_appears_before_everything_is_written(old):
    with files_together():
        for name in _NAMES:
            write_text("new", old / name)
            assert all((old / each).read_text() == "old" for each in _NAMES)
    assert contents(old) == dict.fromkeys(_NAMES, "new")


@pytest.mark.parametrize("name", _NAMES)
def test_a_rename_that_fails_puts_the_earlier_files_back(old, monkeypatch, name):
    fail_at(monkeypatch, name)
    with pytest.raises(
        OutputError, match=rf"{name} cannot be written \(Input/output error\), and nothing that belongs"
    ):
        write_all(old)
    assert contents(old) == dict.fromkeys(_NAMES, "old")


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("links", [True, False])
def test_a_rename_that_fails_leaves_nothing_where_nothing_was(tmp_path, monkeypatch, name, links):
    if not links:
        refuse_links(monkeypatch)
    for each in _NAMES:
        check_writable(tmp_path / each)
    fail_at(monkeypatch, name)
    with pytest.raises(OutputError, match="cannot be written"):
        write_all(tmp_path)
    assert contents(tmp_path) == {}


def test_an_interruption_between_two_renames_puts_the_earlier_files_back(old, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    fail_at(monkeypatch, _NAMES[1], interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_all(old)
    assert contents(old) == dict.fromkeys(_NAMES, "old")


def test_an_interruption_right_after_a_rename_loses_nothing(old, monkeypatch):
    really = os.replace

    def replace(source, target):
        really(source, target)
        if os.path.basename(target) == _NAMES[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_text("new", old / _NAMES[0])
    assert contents(old) == dict.fromkeys(_NAMES, "old") | {_NAMES[0]: "new"}


def test_names_that_do_not_reach_the_disk_put_the_earlier_files_back(old, monkeypatch):
    really = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="cannot be written"):
        write_all(old)
    assert contents(old) == dict.fromkeys(_NAMES, "old")


@pytest.mark.parametrize("name", [None, *_NAMES[1:]])
def test_a_file_that_is_to_go_stays_if_one_of_the_others_cannot_be_put_in_its_place(old, monkeypatch, name):
    if name is not None:
        fail_at(monkeypatch, name)
    with pytest.raises(OutputError) if name is not None else nullcontext(), files_together():
        remove_file(old / _NAMES[0])
        for each in _NAMES[1:]:
            write_text("new", old / each)
    assert contents(old) == (dict.fromkeys(_NAMES, "old") if name else dict.fromkeys(_NAMES[1:], "new"))


def test_a_full_disk_leaves_the_earlier_files(old, silent_loss):  # noqa: F811
    silent_loss(0.5)
    with pytest.raises(OutputError, match=r"labels\.txt cannot be written \(what was read back differs\)"):
        write_texts(old, "new", "new", "new")
    assert contents(old) == dict.fromkeys(_NAMES, "old")


def test_a_disk_that_fills_up_leaves_the_earlier_files(old):
    with largest_file(1000), pytest.raises(OutputError, match=r"report\.txt cannot be written \(File too large\)"):
        write_texts(old, "new", "new", "new" * 1000)
    assert contents(old) == dict.fromkeys(_NAMES, "old")


def test_a_write_that_fails_leaves_the_files_before_it(old):
    with pytest.raises(OutputError, match=r"report\.txt cannot be written"):
        write_all(old, fail=OSError(errno.ENOSPC, "No space left on device"))
    assert contents(old) == dict.fromkeys(_NAMES, "old")


def test_a_file_that_appears_meanwhile_is_kept_and_the_others_are_not_written(tmp_path):
    for name in _NAMES:
        check_writable(tmp_path / name)
    (tmp_path / _NAMES[2]).write_text("of another job")
    with pytest.raises(OutputError, match=r"report\.txt has appeared while the job ran and was kept"):
        write_all(tmp_path)
    # It is another's still, for whatever is written there next.
    with pytest.raises(OutputError, match="has appeared"):
        write_text("failed", tmp_path / _NAMES[2])
    assert contents(tmp_path) == {_NAMES[2]: "of another job"}


def test_a_file_that_is_written_twice_is_the_second(old):
    with files_together():
        write_text("first", old / _NAMES[0])
        with files_together():
            write_text("second", old / _NAMES[0])
        assert (old / _NAMES[0]).read_text() == "old"
    assert contents(old) == dict.fromkeys(_NAMES, "old") | {_NAMES[0]: "second"}


def test_an_earlier_file_that_cannot_be_put_back_is_named(tmp_path, monkeypatch):
    for name in _NAMES:
        (tmp_path / name).write_text("old")
    really = os.replace

    def replace(source, target):
        # From the second rename on, nothing takes these places any more.
        if os.path.basename(target) in _NAMES and (tmp_path / _NAMES[0]).read_text() == "new":
            raise OSError(errno.EIO, "Input/output error")
        really(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match=r"the earlier \S+labels\.txt is now (\S+)\)") as failure:
        write_all(tmp_path)
    kept = str(failure.value).split("is now ")[1].split(")")[0]
    assert os.path.basename(kept).startswith("labels.txt.before-")
    with open(kept) as file:
        assert file.read() == "old"


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
def test_a_process_that_is_killed_before_the_first_rename_leaves_the_earlier_files(old, monkeypatch):
    fail_at(monkeypatch, _NAMES[0], lambda: os.kill(os.getpid(), signal.SIGKILL))
    child = os.fork()
    if child == 0:
        try:
            write_all(old)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert {name: text for name, text in contents(old).items() if name in _NAMES} == dict.fromkeys(_NAMES, "old")


def _write_case(folder):
    with atomic_folder(folder) as partial:
        (partial / "volume.npy").write_text("voxels")
        assert not folder.exists()
        (partial / "matrix.npy").write_text("matrix")


def test_a_folder_appears_with_all_its_files(tmp_path):
    _write_case(tmp_path / "case")
    assert contents(tmp_path / "case") == {"volume.npy": "voxels", "matrix.npy": "matrix"}
    assert list(tmp_path.iterdir()) == [tmp_path / "case"]


@pytest.mark.parametrize("function", ["fsync", "rename"])
def test_a_folder_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path, monkeypatch, function):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OutputError, match=r"case cannot be written \(No space left on device\): check space"):
        _write_case(tmp_path / "case")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["weights.safetensors", "card.md", "model.json"])
def test_a_package_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, failing):
    manifest = random_manifest("segmentation", base_width=2, patch=(16, 16, 16))
    write_random_package(tmp_path / "model", manifest)
    (tmp_path / "model" / "card.md").write_text("about the first")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    with monkeypatch.context() as patch:
        fail_at(patch, failing)
        if failing == "card.md":
            patch.setattr(Path, "unlink", _refuse_to_remove(Path.unlink, failing))
        with pytest.raises(OutputError, match=f"{failing} cannot be written"):
            write_random_package(tmp_path / "model", manifest, seed=1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    package = write_random_package(tmp_path / "model", manifest, seed=1)
    package.load()
    # What was said of the first does not hold for the second.
    assert package.card() is None


def _refuse_to_remove(really, name):
    def unlink(path, **options):
        if path.name == name:
            raise OSError(errno.EACCES, "Permission denied")
        really(path, **options)

    return unlink


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("failing", ["labels.nrrd", "probabilities.nrrd", "report.json"])
def test_labels_probabilities_and_report_are_of_one_job(
    tmp_path, segmentation_package, monkeypatch, capsys, failing, overwrite
):
    shape = (32, 32, 32)
    points = sample(bright_points, shape, grid_matrix("LPS", (3, 3, 3), shape))
    write_volume(Volume(points.array[:1], points.matrix), tmp_path / "head.nrrd")
    written = [tmp_path / name for name in ("labels.nrrd", "probabilities.nrrd", "report.json")]
    arguments = ["segment", str(tmp_path / "head.nrrd"), "--model", str(segmentation_package.path), "--device", "cpu"]
    for option, path in zip(("--output", "--probabilities", "--json"), written, strict=True):
        arguments += [option, str(path)]
        if overwrite:
            path.write_bytes(b"old")
    arguments += ["--overwrite"] if overwrite else []
    with monkeypatch.context() as patch:
        fail_at(patch, failing)
        assert cli.main(arguments) == 1
    output = capsys.readouterr()
    assert f"{failing} cannot be written (Input/output error)" in output.err
    assert "Wrote" not in output.out
    assert [path.read_bytes() for path in written if path.exists()][:-1] == ([b"old", b"old"] if overwrite else [])
    # The report tells of the failure, where it can be written by then.
    assert json.loads(written[2].read_text())["success"] is False
    assert len(list(tmp_path.iterdir())) == (4 if overwrite else 2)
    written[2].unlink()
    assert cli.main(arguments) == 0
    assert json.loads(written[2].read_text())["success"] is True
    assert np.array_equal(read_volume(written[0]).array[0] > 0, read_volume(written[1]).array.argmax(0) > 0)
