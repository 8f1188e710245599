"""The files of one job: all of them are new, or all of them are those of before."""

import errno
import json
import os
import signal
import sys

import numpy as np
import pytest

from helpers.failing_renames import fail_at, refuse_links
from helpers.phantoms import bright_points, grid_matrix, sample
from NNMambaLib import cli
from NNMambaLib.errors import OutputError
from NNMambaLib.files import atomic_file, check_writable, files_together, write_text
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


@pytest.mark.parametrize("failing", ["labels.nrrd", "probabilities.nrrd", "report.json"])
def test_labels_probabilities_and_report_are_of_one_job(tmp_path, segmentation_package, monkeypatch, capsys, failing):
    shape = (32, 32, 32)
    points = sample(bright_points, shape, grid_matrix("LPS", (3, 3, 3), shape))
    write_volume(Volume(points.array[:1], points.matrix), tmp_path / "head.nrrd")
    written = [tmp_path / name for name in ("labels.nrrd", "probabilities.nrrd", "report.json")]
    arguments = ["segment", str(tmp_path / "head.nrrd"), "--model", str(segmentation_package.path), "--device", "cpu"]
    for option, path in zip(("--output", "--probabilities", "--json"), written, strict=True):
        arguments += [option, str(path)]
        path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        fail_at(patch, failing)
        assert cli.main([*arguments, "--overwrite"]) == 1
    output = capsys.readouterr()
    assert f"{failing} cannot be written (Input/output error)" in output.err
    assert "Wrote" not in output.out
    assert [path.read_bytes() for path in written[:2]] == [b"old", b"old"]
    assert json.loads(written[2].read_text())["success"] is False
    assert len(list(tmp_path.iterdir())) == 4
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert json.loads(written[2].read_text())["success"] is True
    assert np.array_equal(read_volume(written[0]).array[0] > 0, read_volume(written[1]).array.argmax(0) > 0)
