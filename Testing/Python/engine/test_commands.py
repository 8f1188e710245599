"""What the commands write, beside the refusals of `test_bad_input`."""

import json

import pytest

from helpers.perturbed_networks import perturbed_network
from helpers.phantoms import bright_points, grid_matrix, sample
from NNMambaLib import cli
from NNMambaLib.models.package import write_package
from NNMambaLib.support.random_package import random_manifest
from NNMambaLib.volumes.files import read_volume, write_volume


def test_landmarks_from_one_file_a_channel_on_different_grids(tmp_path, landmarks_package):
    """The report says which channel was moved."""
    shapes = {"a": (34, 36, 38), "b": (36, 34, 40), "c": (34, 36, 38)}
    for index, (name, shape) in enumerate(shapes.items()):
        volume = sample(bright_points, shape, grid_matrix("LPS", (3, 3, 3), shape), name)
        channel = type(volume)(volume.array[index : index + 1], volume.matrix, name)
        write_volume(channel, tmp_path / f"{name}.nrrd")
    inputs = [str(tmp_path / f"{name}.nrrd") for name in shapes]
    output, report = tmp_path / "found.mrk.json", tmp_path / "report.json"
    options = ["--model", str(landmarks_package.path), "--output", str(output), "--json", str(report)]
    assert cli.main(["landmarks", *inputs, *options]) == 0
    content = json.loads(report.read_text(encoding="utf-8"))
    assert "b.nrrd was resampled to the grid of a.nrrd" in content["provenance"]["notices"]
    assert all(landmark["found"] for landmark in content["landmarks"])
    assert len(json.loads(output.read_text(encoding="utf-8"))["markups"][0]["controlPoints"]) == 3


def test_files_of_a_segmentation_say_where_they_come_from(tmp_path, segmentation_package):
    import SimpleITK as sitk

    shape = (32, 34, 36)
    write_volume(sample(bright_points, shape, grid_matrix("RAS", (3, 3, 3), shape)), tmp_path / "three.nrrd")
    first = read_volume(tmp_path / "three.nrrd")
    write_volume(type(first)(first.array[:1], first.matrix), tmp_path / "one.nrrd")
    labels, probabilities = tmp_path / "labels.seg.nrrd", tmp_path / "probabilities.nrrd"
    arguments = ["segment", str(tmp_path / "one.nrrd"), "--model", str(segmentation_package.path)]
    assert cli.main([*arguments, "--output", str(labels), "--probabilities", str(probabilities)]) == 0
    for path in (labels, probabilities):
        image = sitk.ReadImage(str(path))
        assert image.GetMetaData("NNMamba_WeightsSHA256") == segmentation_package.sha256
        assert json.loads(image.GetMetaData("NNMamba_Options"))["step"] == 0.5
    assert read_volume(probabilities).channels == 4


@pytest.fixture
def classify(tmp_path):
    """Run ``nnmamba classify`` on a volume, with a network whose every weight matters."""
    manifest = random_manifest("classification", None, 3, 4, patch=(32, 32, 32), spacing=(3, 3, 3))
    package = write_package(tmp_path / "model", manifest, perturbed_network("CLS", 1, 3, base_width=4))
    shape = (30, 34, 36)
    points = sample(bright_points, shape, grid_matrix("LPS", (3, 3, 3), shape), "head")
    write_volume(type(points)(points.array[:1], points.matrix, "head"), tmp_path / "head.nrrd")

    def run(*options):
        arguments = ["classify", str(tmp_path / "head.nrrd"), "--model", str(package.path), "--device", "cpu"]
        return cli.main([*arguments, "--output", str(tmp_path / "found.json"), *map(str, options)])

    return run


def test_classification_is_explained_in_a_volume_and_on_a_page(classify, tmp_path):
    volume, page = tmp_path / "why.nrrd", tmp_path / "page.html"
    assert classify("--explain", "random", "--explanation", volume, "--page", page) == 0
    content = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert set(content) == {"predictions", "provenance", "research_use"}
    assert content["provenance"]["options"] == {"explain": "random"}
    assert read_volume(volume).array.shape == (1, 30, 34, 36)
    assert read_volume(volume).array.any()
    text = page.read_text(encoding="utf-8")
    assert content["predictions"][0]["predicted"] in text
    assert "Zeiler" in text


def test_page_without_an_explanation_is_written_too(classify, tmp_path):
    assert classify("--page", tmp_path / "page.html") == 0
    assert "head.nrrd" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_names_and_questions_that_do_not_suit_are_refused_before_anything_is_written(classify, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    for options, words in (
        (("--explanation", tmp_path / "why.nrrd"), "name one with --explain"),
        (("--explain", "age"), "does not answer 'age'"),
        (("--page", tmp_path / "page.pdf"), "end it in .html"),
        (("--page", tmp_path / "found.json"), "is asked for twice"),
    ):
        assert classify(*options) == 1
        assert words in " ".join(capsys.readouterr().err.split())
        assert sorted(tmp_path.iterdir()) == before
