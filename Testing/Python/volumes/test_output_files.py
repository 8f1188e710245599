"""Outputs: whole or not at all, never over an input or another's file, under names that nobody can guess."""

import errno
import os
import stat

import numpy as np
import pytest

from helpers.failing_renames import refuse_links
from helpers.full_disk import largest_file, silent_loss  # noqa: F401
from NNMambaLib import cli
from NNMambaLib.errors import OutputError
from NNMambaLib.file_names import same_file
from NNMambaLib.files import atomic_file, check_writable, write_json, write_text
from NNMambaLib.runtime.leftovers import temporary_prefix
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

_ENDINGS = (".nrrd", ".nii", ".nii.gz", ".mha", ".seg.nrrd")
_NOISE = Volume(np.random.default_rng(0).integers(0, 1000, (1, 16, 16, 16)).astype(np.int16), np.eye(4))


# --- a disk without room -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 100, 352, 3000])
@pytest.mark.parametrize("ending", _ENDINGS)
def test_a_full_disk_leaves_the_earlier_file(tmp_path, ending, room):
    path = tmp_path / f"labels{ending}"
    path.write_bytes(b"earlier")
    with largest_file(room), pytest.raises(OutputError, match=r"cannot be written \(File too large\): check space"):
        write_volume(_NOISE, path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("ending", _ENDINGS)
def test_a_loss_that_the_system_does_not_report_leaves_the_earlier_file(tmp_path, ending, part, silent_loss):  # noqa: F811
    path = tmp_path / f"labels{ending}"
    path.write_bytes(b"earlier")
    silent_loss(part)
    with pytest.raises(OutputError, match=r"cannot be written .*: check space and permissions\.$"):
        write_volume(_NOISE, path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", _ENDINGS)
def test_other_voxels_than_were_given_are_not_put_in_place(tmp_path, ending, monkeypatch):
    def spoil(descriptor):
        os.lseek(descriptor, -40, os.SEEK_END)
        os.write(descriptor, bytes(20))

    monkeypatch.setattr(os, "fsync", spoil)
    with pytest.raises(OutputError, match="read back"):
        write_volume(_NOISE, tmp_path / f"labels{ending}")
    assert list(tmp_path.iterdir()) == []


def test_text_and_pictures_on_a_disk_that_loses_them(tmp_path, silent_loss):  # noqa: F811
    from matplotlib.figure import Figure

    silent_loss(0.9)
    with pytest.raises(OutputError, match="what was read back differs"):
        write_json({"a": list(range(100))}, tmp_path / "report.json")
    figure = Figure()
    with (
        pytest.raises(OutputError, match="a part is missing"),
        atomic_file(tmp_path / "plot.png") as temporary,
    ):
        figure.savefig(temporary, format="png")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_when_it_is_flushed(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_text("a", tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_pictures_and_archives_that_are_whole_are_taken(tmp_path):
    import zipfile

    from matplotlib.figure import Figure

    figure = Figure()
    with atomic_file(tmp_path / "plot.png") as temporary:
        figure.savefig(temporary, format="png")
    with atomic_file(tmp_path / "scene.mrb") as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("a", "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plot.png", "scene.mrb"]


# --- two names of one file ---------------------------------------------------------------------------------------


@pytest.fixture
def names(tmp_path):
    """An input, and other names of it."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "real").mkdir()
    write_volume(Volume(np.zeros((1, 32, 32, 32), np.float32), np.diag([3, 3, 3, 1.0])), tmp_path / "real" / "a.nii.gz")
    (tmp_path / "link.nii.gz").symlink_to("real/a.nii.gz")
    (tmp_path / "folder").symlink_to("real")
    os.link(tmp_path / "real" / "a.nii.gz", tmp_path / "hard.nii.gz")
    return tmp_path / "real" / "a.nii.gz"


@pytest.mark.parametrize(
    "other", ["sub/../real/a.nii.gz", "link.nii.gz", "folder/a.nii.gz", "hard.nii.gz", "./real//a.nii.gz"]
)
def test_an_output_that_is_the_input_by_another_name_is_refused(tmp_path, names, other, segmentation_package, capsys):
    before = names.read_bytes()
    arguments = ["segment", str(names), "--model", str(segmentation_package.path), "--overwrite", "--device", "cpu"]
    output = os.path.join(tmp_path, other)
    assert cli.main([*arguments, "--output", output]) == 1
    assert "is asked for twice" in capsys.readouterr().err
    assert cli.main([*arguments, "--output", str(tmp_path / "out.nrrd"), "--json", output]) == 1
    assert "is asked for twice" in capsys.readouterr().err
    assert names.read_bytes() == before
    assert not (tmp_path / "out.nrrd").exists()


def test_two_outputs_that_are_one_file_are_refused(tmp_path, names, segmentation_package, capsys):
    arguments = ["segment", str(names), "--model", str(segmentation_package.path), "--device", "cpu"]
    first, second = tmp_path / "real" / "out.nrrd", os.path.join(tmp_path, "sub", "..", "folder", "out.nrrd")
    assert cli.main([*arguments, "--output", str(first), "--probabilities", second]) == 1
    assert "is asked for twice" in capsys.readouterr().err
    assert cli.main([*arguments, "--output", str(first), "--json", second]) == 1
    assert "is asked for twice" in capsys.readouterr().err
    assert not first.exists()


def test_files_of_the_same_name_in_other_folders_are_two(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert not same_file(tmp_path / "a" / "x.nrrd", tmp_path / "b" / "x.nrrd")
    (tmp_path / "a" / "x.nrrd").touch()
    (tmp_path / "b" / "x.nrrd").touch()
    assert not same_file(tmp_path / "a" / "x.nrrd", tmp_path / "b" / "x.nrrd")


# --- files that appear, and temporary names ----------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_kept(tmp_path, links, monkeypatch):
    if not links:
        refuse_links(monkeypatch)
    path = check_writable(tmp_path / "out.nrrd")
    path.write_bytes(b"of another job")
    with pytest.raises(OutputError, match=r"has appeared while the job ran and was kept: choose another name"):
        write_volume(_NOISE, path)
    assert path.read_bytes() == b"of another job"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_a_free_name_is_taken_and_an_overwritten_one_replaced(tmp_path, links, monkeypatch):
    if not links:
        refuse_links(monkeypatch)
    path = check_writable(tmp_path / "out.nrrd")
    write_volume(_NOISE, path)
    assert np.array_equal(read_volume(path).array, _NOISE.array)
    check_writable(path, overwrite=True)
    write_volume(Volume(_NOISE.array + 1, _NOISE.matrix), path)
    assert np.array_equal(read_volume(path).array, _NOISE.array + 1)
    # A script that asks nothing may write twice.
    write_volume(_NOISE, path)
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_names_are_not_predictable_and_follow_no_link(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    seen = []
    for _ in range(2):
        with atomic_file(tmp_path / "out.txt") as temporary:
            seen.append(temporary.name)
            temporary.write_text("content")
    assert seen[0] != seen[1]
    monkeypatch.setattr("secrets.token_hex", lambda count: "guessed")
    (tmp_path / f"{temporary_prefix()}guessed-out.txt").symlink_to(victim)
    with pytest.raises(OutputError, match="cannot be written"):
        write_text("content", tmp_path / "out.txt")
    assert victim.read_text() == "precious"


def test_a_new_file_has_the_permissions_of_other_new_files(tmp_path):
    (tmp_path / "plain").touch()
    write_text("content", tmp_path / "out.txt")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "out.txt")]
    assert modes[0] == modes[1]


def test_pipes_devices_and_dangling_links_are_not_outputs(tmp_path):
    os.mkfifo(tmp_path / "pipe.nrrd")
    with pytest.raises(OutputError, match="is a pipe or a device"):
        check_writable(tmp_path / "pipe.nrrd", overwrite=True)
    (tmp_path / "dangling.nrrd").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="exists already"):
        check_writable(tmp_path / "dangling.nrrd")


def test_an_output_name_that_is_not_utf_8_is_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match=r"\\xff\.nrrd is not UTF-8: rename it, or give another"):
        check_writable(tmp_path / "\udcff.nrrd")


def test_a_report_with_lone_surrogates_is_json(tmp_path):
    import json

    write_json({"name": "\udcff"}, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == {"name": "\udcff"}
