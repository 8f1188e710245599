"""What cannot be done ends with one sentence that names the thing and the remedy, and leaves nothing behind."""

import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.full_disk import largest_file
from NNMambaLib import cli
from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.files import atomic_file
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes import files
from NNMambaLib.volumes.files import write_volume
from NNMambaLib.volumes.volume import Volume


@pytest.fixture
def good(tmp_path):
    """A volume that the model takes."""
    return _written(tmp_path / "good.nrrd", _voxels())


@pytest.fixture
def package(tmp_path, segmentation_package):
    """A copy of the model that a test may spoil."""
    return Path(shutil.copytree(segmentation_package.path, tmp_path / "model"))


@pytest.fixture
def refused(tmp_path, segmentation_package, capsys):
    """Run a command that must fail; check how it does, and that its sentence has the given words."""

    def run(*words, volumes, model=segmentation_package.path, command="segment", output=None, options=()):
        before = _contents(tmp_path)
        report = tmp_path / "report.json"
        files = ["--model", str(model), "--output", str(output or tmp_path / "out.nrrd"), "--json", str(report)]
        code = cli.main([command, *map(str, volumes), *files, "--device", "cpu", *options])
        printed = capsys.readouterr()
        complaints = [line for line in printed.err.splitlines() if line.startswith("nnmamba: ")]
        assert code == 1
        assert printed.err.splitlines()[-1:] == complaints
        sentence = complaints[0].removeprefix("nnmamba: ")
        assert sentence.endswith(".")
        for word in words:
            assert word in sentence
        assert json.loads(report.read_text()) == {"command": command, "success": False, "error": sentence}
        report.unlink()
        assert _contents(tmp_path) == before

    return run


# --- volumes that cannot be read ---------------------------------------------------------------------------------


def test_missing_file(refused):
    refused("There is no file or folder nowhere.nii.gz", "check the path", volumes=["nowhere.nii.gz"])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_empty_file(refused, tmp_path, ending):
    path = tmp_path / f"empty{ending}"
    path.touch()
    refused(f"{path} is empty", "copy or export it again", volumes=[path])


@pytest.mark.parametrize("kept", [0.01, 0.9])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_truncated_file(refused, tmp_path, ending, kept):
    path = _written(tmp_path / f"cut{ending}", np.random.default_rng(0).random((1, 32, 32, 32), np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    refused(str(path), "cut short", "copy or export it again", volumes=[path])


def test_file_that_is_not_what_its_name_says(refused, tmp_path):
    path = tmp_path / "notes.nrrd"
    path.write_text("no voxels here")
    refused(str(path), "copy or export it again", volumes=[path])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_file_that_must_not_be_read(refused, tmp_path_factory, monkeypatch, ending):
    path = _written(tmp_path_factory.mktemp("locked") / f"secret{ending}", _voxels())
    _deny(monkeypatch, path)
    refused(f"{path} cannot be opened (Permission denied)", "check its name and permissions", volumes=[path])


def test_folder_that_must_not_be_read(refused, tmp_path, monkeypatch):
    (tmp_path / "series").mkdir()
    _deny(monkeypatch, tmp_path / "series")
    refused("series cannot be opened (Permission denied)", volumes=[tmp_path / "series"])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_disk_that_fails_while_a_file_is_read(refused, tmp_path, monkeypatch, ending):
    class Failing(io.BytesIO):
        def read(self, *arguments):
            raise OSError(5, "Input/output error")

    path = _written(tmp_path / f"case{ending}", _voxels())
    monkeypatch.setattr("pathlib.Path.open", lambda path, mode: Failing())
    with pytest.raises(VolumeError, match=r"cannot be opened \(Input/output error\)"):
        files.read_volume(path)


def test_input_name_too_long_for_the_file_system(refused):
    refused("cannot be opened (File name too long): check its name", volumes=[f"{'x' * 300}.nrrd"])


def test_unknown_input_format(refused, tmp_path):
    path = tmp_path / "notes.docx"
    path.write_text("no voxels here")
    refused("has an ending that cannot be read", "give NRRD, NIfTI", volumes=[path])


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_two_dimensional_image(refused, tmp_path, ending):
    path = tmp_path / f"flat{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((32, 32), np.float32)), str(path))
    refused(path.name, "give a 3-D volume", volumes=[path])


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_four_dimensional_image(refused, tmp_path, ending):
    path = tmp_path / f"series{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 32, 32, 32), np.float32), isVector=False), str(path))
    refused("has 4 dimensions where three are needed", "save the wanted 3-D volume by itself", volumes=[path])


# --- volumes that cannot be used ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers(refused, tmp_path, value):
    voxels = _voxels()
    voxels[0, 1, 2, 3:5] = value
    path = _written(tmp_path / "holes.nrrd", voxels)
    refused("holes.nrrd holds 2 voxels that are NaN or infinite", "replace them", volumes=[path])


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_zero_spacing_in_nifti(refused, tmp_path, ending, axis):
    path = _written(tmp_path / "case.nii", _voxels())
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 76 + 4 * axis, 0.0)
    path = tmp_path / f"flat{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    refused(f"flat{ending}", "spacing of zero", "correct its header", volumes=[path])


@pytest.mark.parametrize("directions", ["(1,0,0) (0,1,0) (0,0,0)", "(0,0,0) (0,1,0) (0,0,1)"])
def test_zero_spacing_in_nrrd(refused, tmp_path, directions):
    path = tmp_path / "flat.nrrd"
    header = (
        "NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: 32 32 32\n"
        f"space directions: {directions}\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
    )
    path.write_bytes(header.encode() + _voxels().tobytes())
    refused("flat.nrrd", "spacing of zero", "correct its header", volumes=[path])


def test_zero_spacing_in_metaimage(refused, tmp_path):
    path = _written(tmp_path / "flat.mha", _voxels())
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 3 3 3", b"ElementSpacing = 3 0 3"))
    refused("flat.mha", "spacing of zero", "correct its header", volumes=[path])


def test_volume_smaller_than_half_a_patch(refused, tmp_path, capsys, segmentation_package):
    path = _written(tmp_path / "small.nrrd", _voxels((32, 20, 20)))
    refused(
        "small.nrrd is too small", "20x20x32 voxels where the model's patch has 32x32x32", "--pad-small", volumes=[path]
    )
    arguments = ["segment", str(path), "--model", str(segmentation_package.path), "--output", str(tmp_path / "s.nrrd")]
    assert cli.main([*arguments, "--pad-small"]) == 0
    assert "Note: padded from 20x20x32 to 32x32x32 voxels: the model's patch has 32x32x32." in capsys.readouterr().err


def test_volume_a_little_smaller_than_a_patch_is_padded_and_noted(tmp_path, segmentation_package, capsys):
    path = _written(tmp_path / "small.nrrd", _voxels((32, 30, 31)))
    arguments = ["segment", str(path), "--model", str(segmentation_package.path), "--output", str(tmp_path / "s.nrrd")]
    assert cli.main(arguments) == 0
    assert "Note: padded from 31x30x32 to 32x32x32 voxels" in capsys.readouterr().err


def test_wrong_channel_count(refused, tmp_path, good, landmarks_package):
    path = _written(tmp_path / "two.nrrd", np.zeros((2, 32, 32, 32), np.float32))
    refused("two.nrrd has 2 channels and the model takes 1 (intensity)", volumes=[path])
    refused(
        "good.nrrd has 1 channel and the model takes 3 (front, side, top)", "give one volume for each",
        volumes=[good], model=landmarks_package.path, command="landmarks", output=tmp_path / "out.mrk.json",
    )  # fmt: skip


# --- models ------------------------------------------------------------------------------------------------------


def test_unknown_model(refused, good):
    refused("There is no model 'brian-tissues'", "one of those installed", volumes=[good], model="brian-tissues")


def test_model_name_too_long_for_the_file_system(refused, good):
    refused("cannot be opened (File name too long): check its path", volumes=[good], model="x" * 300)


def test_folder_or_file_that_is_no_package(refused, good, tmp_path):
    refused(f"The model package {tmp_path} lacks model.json", volumes=[good], model=tmp_path)
    refused(f"{good} is not a model package", volumes=[good], model=good)


def test_missing_weights(refused, good, package):
    (package / "weights.safetensors").unlink()
    refused("lacks weights.safetensors", "install the package again", volumes=[good], model=package)


def test_altered_weights(refused, good, package):
    content = bytearray((package / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (package / "weights.safetensors").write_bytes(content)
    refused("were altered or damaged (SHA-256", "install the package again", volumes=[good], model=package)


def test_weights_of_another_network(refused, good, package):
    edit = _manifest(package)
    edit["network"]["base_width"] = 5
    (package / "model.json").write_text(json.dumps(edit))
    refused("do not fit its network SEG-CSS", "install the package again", volumes=[good], model=package)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("colour", "red", ["'colour' was unexpected"]),
        ("input.paddding", 3, ["at input", "'paddding' was unexpected"]),
        ("labels.0.shade", 3, ["at labels.0", "'shade' was unexpected"]),
        ("task", "guessing", ["'outputs' is a required property"]),
        ("network.variant", "SEG-XXL", ["at network.variant", "'SEG-XXL'"]),
        ("input.patch", [32, 32], ["at input.patch"]),
        ("input.patch", [32, 32, 40], ["input.patch must be divisible by 16"]),
        ("input.spacing", [3, 3, 0], ["at input.spacing.2"]),
        ("input.shape", [32, 32, 32], ["exactly one of input.spacing and input.shape"]),
        ("input.orientation", "RAA", ["input.orientation is RAA"]),
        ("input.channels.0.normalisation", {"kind": "ct"}, ["at input.channels.0.normalisation"]),
        ("labels.0.value", 7, ["label values must be 1, 2, 3"]),
        ("labels.1.name", "low", ["two labels have the same name"]),
        ("network.out_channels", 9, ["needs 4 outputs and the network has 9"]),
        ("weights.sha256", "abc", ["at weights.sha256"]),
        ("schema_version", 2, ["at schema_version"]),
        ("version", "one", ["at version"]),
    ],
)  # fmt: skip
def test_faulty_manifest(refused, good, package, place, value, words):
    *path, key = [int(part) if part.isdigit() else part for part in place.split(".")]
    edit = _manifest(package)
    section = edit
    for part in path:
        section = section[part]
    section[key] = value
    (package / "model.json").write_text(json.dumps(edit))
    refused(str(package / "model.json"), *words, "correct the manifest", volumes=[good], model=package)


def test_manifest_that_is_no_json(refused, good, package):
    (package / "model.json").write_text("{")
    refused("model.json is not valid JSON", "restore the original file", volumes=[good], model=package)


def test_model_of_another_task(refused, good, landmarks_package):
    words = "The model brightest-point is for landmarks, not for segmentation", "choose another"
    refused(*words, volumes=[good] * 3, model=landmarks_package.path)


# --- outputs -----------------------------------------------------------------------------------------------------


def test_output_in_a_missing_folder(refused, good, tmp_path):
    folder = tmp_path / "missing"
    refused(f"The folder {folder} does not exist: create it first", volumes=[good], output=folder / "out.nrrd")


def test_output_below_a_file(refused, good):
    refused("does not exist", volumes=[good], output=good / "out.nrrd")


def test_folder_in_the_way(refused, good, tmp_path):
    (tmp_path / "out.nrrd").mkdir()
    words = "out.nrrd is a folder: give the name of a file"
    refused(words, volumes=[good], output=tmp_path / "out.nrrd", options=["--overwrite"])


def test_existing_file_is_kept_unless_it_may_be_overwritten(refused, good, tmp_path, segmentation_package):
    output = tmp_path / "out.nrrd"
    output.write_text("precious")
    refused("exists already: choose another name", "--overwrite", volumes=[good], output=output)
    assert output.read_text() == "precious"
    arguments = ["segment", str(good), "--model", str(segmentation_package.path), "--output", str(output)]
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert output.read_bytes().startswith(b"NRRD")


def test_unknown_output_format(refused, good, tmp_path):
    refused(
        "out.stl has an ending that cannot be written", "end it in .nrrd", volumes=[good], output=tmp_path / "out.stl"
    )
    for command, ending in (("landmarks", ".mrk.json"), ("classify", ".json")):
        refused(f"end it in {ending}", volumes=[good], command=command, output=tmp_path / "out.txt")


def test_name_too_long_for_the_file_system(refused, good, tmp_path):
    words = "cannot be written (File name too long): choose another name"
    refused(words, volumes=[good], output=tmp_path / f"{'x' * 300}.nrrd")


def test_name_too_long_for_the_temporary_file_is_refused_before_the_work(refused, good, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "read_voxels", lambda source: pytest.fail("the work was begun"))
    words = "cannot be written (File name too long): choose a shorter name"
    refused(words, volumes=[good], output=tmp_path / f"{'x' * 245}.nrrd")


def test_temporary_file_that_cannot_be_removed_does_not_hide_the_failure(tmp_path, monkeypatch):
    def deny(path, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.unlink", deny)
    with pytest.raises(OutputError, match="no space left"), atomic_file(tmp_path / "out.nrrd"):
        raise OutputError("out.nrrd cannot be written (no space left): make room.")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        atomic_file(tmp_path / f"{'x' * 245}.nrrd") as temporary,
    ):
        temporary.touch()


def test_two_outputs_in_one_file(refused, good, tmp_path):
    output = tmp_path / "out.nrrd"
    words = f"{output} is asked for twice"
    refused(words, volumes=[good], output=output, options=["--probabilities", str(output)])


def test_disk_that_fills_up_leaves_no_half_file(refused, tmp_path):
    path = _written(tmp_path / "case.nrrd", np.random.default_rng(0).random((1, 32, 32, 32), np.float32))
    with largest_file(2000):
        refused("out.nii cannot be written (File too large): check space", volumes=[path], output=tmp_path / "out.nii")


def test_report_that_cannot_be_written(good, segmentation_package, tmp_path, capsys):
    arguments = ["segment", str(good), "--model", str(segmentation_package.path), "--output", str(tmp_path / "s.nrrd")]
    assert cli.main([*arguments, "--json", str(tmp_path / "missing" / "report.json")]) == 1
    assert "create it first" in capsys.readouterr().err
    assert not (tmp_path / "s.nrrd").exists()


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "abacus"], ["The device 'abacus' cannot be used", "choose --device auto or cpu"]),
        (["--device", "meta"], ["The device 'meta' cannot be used"]),
        (["--backend", "slide-rule"], ["slide-rule"]),
        (["--step", "0"], ["step is 0.0 and must be at least 0.01 and at most 1"]),
        (["--step", "nan"], ["must be at least 0.01 and at most 1"]),
        (["--mirror"], ["does not allow mirroring: run it without"]),
        (["--memory-limit", "0.000001"], ["needs at least", "crop the volume"]),
    ],
)
def test_option_that_cannot_be_had(refused, good, options, words):
    refused(*words, volumes=[good], options=options)


def test_variant_of_another_task(tmp_path, capsys):
    assert cli.main(["random-model", "segmentation", "--variant", "CLS", "--output", str(tmp_path / "m")]) == 1
    assert "The task needs an encoder-decoder and CLS is not one: choose one of SEG-CSS" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("task", "options", "sentence"),
    [
        ("segmentation", ["--width", "0"], "--width is 0 and must be 1 to 128."),
        ("segmentation", ["--width", "-1"], "--width is -1 and must be 1 to 128."),
        ("landmarks", ["--channels", "0"], "--channels is 0 and must be 1 to 64."),
        (
            "segmentation",
            ["--outputs", "1"],
            "--outputs is 1 and must be at least 2 for segmentation, and at most 1024.",
        ),
        ("landmarks", ["--outputs", "0"], "--outputs is 0 and must be at least 1 for landmarks, and at most 1024."),
        (
            "classification",
            ["--outputs", "1"],
            "--outputs is 1 and must be at least 2 for classification, and at most 1024.",
        ),
        (
            "segmentation",
            ["--patch", "64", "64", "40"],
            "--patch is 64 64 40 and must be three multiples of 16 up to 1024.",
        ),
        (
            "segmentation",
            ["--patch", "0", "64", "64"],
            "--patch is 0 64 64 and must be three multiples of 16 up to 1024.",
        ),
        (
            "segmentation",
            ["--spacing", "1", "1", "nan"],
            "--spacing is 1 1 nan and must be three lengths of 0.001 to 1000 mm.",
        ),
        ("segmentation", ["--seed", str(2**64)], "must be at least 0 and below 2^63."),
    ],
)
def test_random_model_of_impossible_sizes(tmp_path, capsys, task, options, sentence):
    assert cli.main(["random-model", task, *options, "--output", str(tmp_path / "m")]) == 1
    assert capsys.readouterr().err.strip().endswith(sentence)
    assert not (tmp_path / "m").exists()


def test_random_model_with_a_name_too_long_for_the_file_system(tmp_path, capsys):
    assert cli.main(["random-model", "segmentation", "--output", str(tmp_path / ("x" * 300))]) == 1
    assert "cannot be written (File name too long): choose another name." in capsys.readouterr().err


@pytest.mark.parametrize(("task", "outputs"), [("segmentation", "2"), ("landmarks", "1"), ("classification", "2")])
def test_random_model_of_the_least_sizes(tmp_path, task, outputs):
    sizes = ["--width", "1", "--outputs", outputs, "--patch", "16", "16", "16"]
    assert cli.main(["random-model", task, *sizes, "--output", str(tmp_path / "m")]) == 0


def test_interruption_leaves_nothing(good, tmp_path, segmentation_package, monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("NNMambaLib.inference.run.prepare", interrupt)
    output, report = tmp_path / "out.nrrd", tmp_path / "report.json"
    arguments = ["segment", str(good), "--model", str(segmentation_package.path), "--output", str(output)]
    assert cli.main([*arguments, "--json", str(report)]) == 130
    assert "Interrupted: what was not complete was not written." in capsys.readouterr().err
    assert json.loads(report.read_text())["success"] is False
    assert not output.exists()


def test_exit_code_reaches_the_shell(tmp_path):
    """Through a process of its own, as a script has it."""
    command = [
        sys.executable,
        "-m",
        "NNMambaLib.cli",
        "segment",
        "nowhere.nrrd",
        "--model",
        "brain-structures",
        "--output",
        "o.nrrd",
    ]
    root = Path(cli.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "nnmamba: There is no file or folder nowhere.nrrd: check the path.\n"
    assert not list(tmp_path.iterdir())


def test_classifier_refuses_like_the_others(refused, good, tmp_path):
    package = write_random_package(tmp_path / "c", random_manifest("classification", base_width=2, channels=2))
    words = "good.nrrd has 1 channel and the model takes 2"
    refused(words, volumes=[good], model=package.path, command="classify", output=tmp_path / "out.json")


def _voxels(shape=(32, 32, 32)):
    return np.random.default_rng(0).uniform(0, 3, (1, *shape)).astype(np.float32)


def _written(path, voxels):
    write_volume(Volume(voxels, np.diag([3.0, 3, 3, 1])), path)
    return path


def _deny(monkeypatch, denied):
    """Let a file or folder be one that may not be read; for the superuser, permissions do not do that."""
    opened, listed = Path.open, os.listdir

    def refuse(path):
        if Path(path) == denied:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files.Path, "open", lambda path, *rest, **more: refuse(path) or opened(path, *rest, **more))
    monkeypatch.setattr("os.listdir", lambda path: refuse(path) or listed(path))


def _manifest(package):
    return json.loads((package / "model.json").read_text())


def _contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
