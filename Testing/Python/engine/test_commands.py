"""What the commands write, beside the refusals of `test_bad_input`."""

import json

from NNMambaLib import cli
from NNMambaLib.volume_io import read_volume, write_volume
from phantoms import bright_points, grid_matrix, sample


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
