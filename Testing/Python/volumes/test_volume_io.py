"""Volumes from files and into files: voxels and geometry survive."""

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.phantoms import grid_matrix, oblique_rotation
from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.export.segmentation_file import without_shear, write_segmentation
from NNMambaLib.models.manifest import Label
from NNMambaLib.results import Provenance, SegmentationResult
from NNMambaLib.volumes.checks import check_voxels, stack_channels
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

_SHAPE = (4, 6, 5)
# Oblique, flipped, permuted and anisotropic at once.
_MATRIX = grid_matrix("AIR", (0.7, 1.3, 3.0), _SHAPE, rotation=oblique_rotation())
PROVENANCE = Provenance("m", "1.0.0", "0" * 64, "1.0.0", "cpu", "torch", {}, "2026-01-01T00:00:00+00:00", {})
_TILTED = grid_matrix("LPS", (1.0, 1.0, 3.0), _SHAPE, shear=0.3)


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ending", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_a_file_gives_back_what_was_written(tmp_path, ending, channels, dtype):
    volume = _volume(channels, dtype)
    write_volume(volume, tmp_path / f"case{ending}")
    found = read_volume(tmp_path / f"case{ending}")
    assert found.array.dtype == dtype
    assert np.array_equal(found.array, volume.array)
    # NIfTI keeps its geometry in single precision.
    assert found.matrix == pytest.approx(_MATRIX, abs=1e-4)
    assert found.name == f"case{ending}"


def test_geometry_is_that_of_other_readers(tmp_path):
    write_volume(_volume(), tmp_path / "case.nrrd")
    image = sitk.ReadImage(str(tmp_path / "case.nrrd"))
    for index in ([0, 0, 0], [4, 0, 0], [1, 5, 3]):
        expected = _MATRIX @ [*index, 1]
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx(expected[:3])
        assert image[index] == _volume().array[0][tuple(reversed(index))]


def test_half_precision_is_written_as_single(tmp_path):
    write_volume(_volume(2, "float16"), tmp_path / "case.nrrd")
    assert read_volume(tmp_path / "case.nrrd").array.dtype == np.float32


def test_metadata_is_kept(tmp_path):
    write_volume(_volume(), tmp_path / "case.nrrd", {"Segment0_Name": "grey matter"})
    assert sitk.ReadImage(str(tmp_path / "case.nrrd")).GetMetaData("Segment0_Name") == "grey matter"


def test_sheared_axes_are_not_written_as_if_they_were_straight(tmp_path):
    sheared = Volume(np.zeros((1, *_SHAPE), np.float32), _TILTED, "tilted")
    with pytest.raises(OutputError, match="tilted has sheared axes"):
        write_volume(sheared, tmp_path / "case.nrrd")
    assert not list(tmp_path.iterdir())


def test_several_files_become_the_channels_of_one_volume(tmp_path):
    for number in range(3):
        write_volume(Volume(np.full((1, *_SHAPE), number, np.int16), _MATRIX), tmp_path / f"{number}.nrrd")
    volume, notices = stack_channels([read_volume(tmp_path / f"{number}.nrrd") for number in (2, 0, 1)])
    assert volume.array.dtype == np.float32
    assert volume.array[:, 0, 0, 0].tolist() == [2, 0, 1]
    assert notices == []


def test_one_of_several_files_must_not_have_several_channels(tmp_path):
    write_volume(_volume(2), tmp_path / "two.nrrd")
    write_volume(_volume(1), tmp_path / "one.nrrd")
    with pytest.raises(VolumeError, match=r"two\.nrrd has 2 channels: give either one file or one a channel"):
        stack_channels([read_volume(tmp_path / name) for name in ("one.nrrd", "two.nrrd")])


@pytest.mark.parametrize(
    ("voxels", "refused"), [(0, False), (2, False), (4, True), (50, True)], ids=["0/5", "2/5", "4/5", "apart"]
)
def test_channels_of_different_places_are_refused(voxels, refused):
    """Moved along x, along which there are five voxels."""
    first, matrix = _volume(), _MATRIX.copy()
    matrix[:3, 3] += voxels * matrix[:3, 0]
    other = Volume(first.array, matrix, "other")
    if not refused:
        assert stack_channels([first, other])[0].channels == 2
        return
    with pytest.raises(VolumeError, match=r"other covers \d+% of volume, too little .* register"):
        stack_channels([first, other])


def test_a_channel_may_be_larger_than_the_first_one():
    large = Volume(np.zeros((1, 40, 60, 50), np.int16), grid_matrix("LPS", (2, 2, 2), (40, 60, 50)), "large")
    assert stack_channels([_volume(), large])[1] == ["large was resampled to the grid of volume"]
    with pytest.raises(VolumeError, match=r"volume covers \d% of large"):
        stack_channels([large, _volume()])


def test_a_channel_without_extent_is_refused():
    with pytest.raises(VolumeError, match="flat has a voxel spacing of zero"):
        stack_channels([_volume(), Volume(_volume().array, np.diag([1.0, 1, 0, 1]), "flat")])


@pytest.mark.parametrize(("dtype", "value"), [("float64", 1e39), ("float64", -1e300), ("float32", -3.4e38)])
def test_voxels_beyond_single_precision_are_refused(dtype, value):
    volume = _volume(dtype=dtype)
    volume.array[0, 1, 2, 3] = value
    with pytest.raises(VolumeError, match=r"holds 1 voxels that are .* beyond single precision \(3e\+38\): replace"):
        check_voxels(volume)


@pytest.mark.parametrize(("dtype", "value"), [("float64", 1e38), ("float16", 65504)])
def test_large_voxels_are_taken(dtype, value):
    volume = _volume(dtype=dtype)
    volume.array[0, 1, 2, 3] = value
    check_voxels(volume)


def test_half_precision_voxels_that_are_infinite_are_refused():
    volume = _volume(dtype="float16")
    volume.array[0, 1, 2, 3] = np.inf
    with pytest.raises(VolumeError, match="holds 1 voxels that are NaN or infinite"):
        check_voxels(volume)


@pytest.mark.parametrize("matrix", [_MATRIX, _TILTED], ids=["oblique", "tilted gantry"])
def test_dicom_series_keeps_its_geometry(tmp_path, matrix):
    volume = _volume(matrix=matrix)
    _write_series(volume, tmp_path)
    found = read_volume(tmp_path)
    # GDCM sorts slices along their normal, which may be the reverse of the order in which they were written.
    expected = volume if np.allclose(found.matrix[:3, 2], matrix[:3, 2], atol=1e-3) else _last_slice_first(volume)
    assert found.matrix == pytest.approx(expected.matrix, abs=1e-3)
    assert np.array_equal(found.array, expected.array)


def test_dicom_series_with_a_missing_slice_is_refused(tmp_path):
    _write_series(_volume(), tmp_path)
    (tmp_path / "slice-2.dcm").unlink()
    with pytest.raises(VolumeError, match=r"uneven or missing slices.*export it again, complete"):
        read_volume(tmp_path)


def test_two_dicom_series_in_a_folder_are_refused(tmp_path):
    _write_series(_volume(), tmp_path, series=1)
    _write_series(_volume(), tmp_path, series=2)
    with pytest.raises(VolumeError, match="holds 2 DICOM series: move the files of the wanted one"):
        read_volume(tmp_path)


def test_single_dicom_slice_and_folder_without_dicom_are_refused(tmp_path):
    with pytest.raises(VolumeError, match="holds no DICOM series"):
        read_volume(tmp_path)
    _write_series(_volume(), tmp_path)
    for file in sorted(tmp_path.iterdir())[1:]:
        file.unlink()
    with pytest.raises(VolumeError, match="has a single slice"):
        read_volume(tmp_path)


@pytest.mark.parametrize("files", [1, 2])
def test_multi_frame_dicom_is_called_so(tmp_path, files):
    for number in range(files):
        image = sitk.GetImageFromArray(np.full((5, 16, 16), 7, np.uint16))
        tags = {
            "0008|0060": "MR",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4.1",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.{number + 1}",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.9",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.8",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(tmp_path / f"enhanced-{number}.dcm"))
        writer.Execute(image)
    with pytest.raises(VolumeError, match=r"holds a multi-frame DICOM file.*convert it to NRRD first"):
        read_volume(tmp_path)


def _volume(channels=1, dtype="int16", matrix=_MATRIX):
    array = np.random.default_rng(channels).integers(0, 255, (channels, *_SHAPE)).astype(dtype)
    return Volume(array, matrix)


def _last_slice_first(volume):
    matrix = volume.matrix.copy()
    matrix[:3, 3] += matrix[:3, 2] * (_SHAPE[0] - 1)
    matrix[:3, 2] *= -1
    return Volume(volume.array[:, ::-1], matrix)


def _write_series(volume, folder, series=1):
    """Write a DICOM file a slice, its position and orientation as the matrix has them."""
    root = f"1.2.826.0.1.3680043.2.1125.{series}"
    matrix = volume.matrix
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    directions = matrix[:3, :3] / spacing
    for k, plane in enumerate(volume.array[0]):
        image = sitk.GetImageFromArray(np.ascontiguousarray(plane)[None])
        normal = np.cross(directions[:, 0], directions[:, 1])
        image.SetOrigin((matrix @ [0, 0, k, 1])[:3].tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection(np.stack([directions[:, 0], directions[:, 1], normal], 1).ravel().tolist())
        tags = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{root}.{k + 1}",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.9",
            "0020|000e": root,
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{value:.6f}" for value in image.GetOrigin()),
            "0020|0037": "\\".join(f"{value:.8f}" for value in [*directions[:, 0], *directions[:, 1]]),
            "0028|0030": f"{spacing[1]:.6f}\\{spacing[0]:.6f}",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / (f"slice-{k}.dcm" if series == 1 else f"other-{k}.dcm")))
        writer.Execute(image)


def test_a_segmentation_with_sheared_axes_is_written_on_a_rectangular_grid(tmp_path):
    labels = Volume(np.ones((1, *_SHAPE), np.uint8), _TILTED, "tilted")
    result = SegmentationResult(labels, (Label(1, "all", (255, 0, 0)),), {}, PROVENANCE)
    straight = without_shear(result)
    assert "rectangular grid" in straight.provenance.notices[-1]
    write_segmentation(straight, tmp_path / "case.nrrd")
    written = read_volume(tmp_path / "case.nrrd")
    # What is written covers the same place: as much of it is labelled, to within the slanted ends.
    labeled = written.array.sum() * written.grid.voxel_volume
    assert labeled == pytest.approx(labels.array.size * labels.grid.voxel_volume, rel=0.15)
    assert without_shear(straight) is straight
