"""DICOM series: values of each slice's own modality LUT (PS3.3 C.11.1), and only what is one stack of slices."""

import shutil
import struct

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from helpers.dicom_files import modality_lut, save, slice_dataset, write_slices
from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.checks import stack_channels
from NNMambaLib.volumes.files import read_volume

_COUNT = 6
_PLANES = np.random.default_rng(0).integers(0, 100, (_COUNT, 7, 5)).astype(np.int16)


def test_place_and_values_of_a_series(tmp_path):
    write_slices(tmp_path / "series", _PLANES)
    volume = read_volume(tmp_path / "series")
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array[0], _PLANES)
    # Pixel spacing is that of rows, then that of columns.
    assert volume.matrix == pytest.approx(np.array([[1, 0, 0, 10], [0, 1.2, 0, 20], [0, 0, 2, -30], [0, 0, 0, 1]]))
    assert volume.notices == ()


def test_signs_may_differ_between_slices(tmp_path):
    """The first slice unsigned, the others signed: -50 must not become 65486."""
    expected = _PLANES.astype(int) - 50 * (np.arange(_COUNT) > 0)[:, None, None]
    write_slices(
        tmp_path / "series", expected, change=lambda k: {"pixels": expected[k].astype(np.int16 if k else np.uint16)}
    )
    assert np.array_equal(read_volume(tmp_path / "series").array[0], expected)


@pytest.mark.parametrize("modality", ["MR", "CT", "PT"])
def test_each_slice_has_its_own_slope_and_intercept(tmp_path, modality):
    slopes, intercepts = [1, 0.25, 0.5, 2, 0.125, 1], [0, -3, 0.5, 0, 7, -1024]
    write_slices(
        tmp_path / "series", _PLANES, modality=modality, change=lambda k: {"rescale": (slopes[k], intercepts[k])}
    )
    expected = _PLANES * np.reshape(slopes, (-1, 1, 1)) + np.reshape(intercepts, (-1, 1, 1))
    volume = read_volume(tmp_path / "series")
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array[0], expected)


@pytest.mark.parametrize(
    ("stored", "bits", "rescale", "dtype"),
    [
        (np.uint16, 12, (1, -1024), np.int16),
        (np.uint16, 16, (1, -1024), np.int32),
        (np.int16, 16, (1, 0), np.int16),
        (np.uint8, 8, None, np.uint8),
        (np.int16, 16, (2, -7), np.int32),
    ],
)
def test_whole_values_stay_whole_in_the_smallest_type_that_holds_all(tmp_path, stored, bits, rescale, dtype):
    write_slices(tmp_path / "series", _PLANES.astype(stored), bits_stored=bits, rescale=rescale)
    slope, intercept = rescale or (1, 0)
    volume = read_volume(tmp_path / "series")
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array[0], _PLANES.astype(int) * slope + intercept)


def test_a_small_slope_on_a_large_intercept_needs_double_precision(tmp_path):
    write_slices(tmp_path / "series", _PLANES, rescale=(0.001, -1e6))
    volume = read_volume(tmp_path / "series")
    assert volume.array.dtype == np.float64
    assert volume.array[0] == pytest.approx(_PLANES * 0.001 - 1e6, abs=1e-9)


def test_modality_lut_sequence_maps_and_clips(tmp_path):
    table = np.arange(1000, 1050)
    write_slices(tmp_path / "series", _PLANES, ModalityLUTSequence=modality_lut(20, table))
    expected = table[np.clip(_PLANES.astype(int) - 20, 0, 49)]
    assert np.array_equal(read_volume(tmp_path / "series").array[0], expected)


@pytest.mark.parametrize("first", [-50, 0])
def test_modality_lut_of_signed_numbers(tmp_path, first):
    table = np.arange(200) * 3
    write_slices(tmp_path / "series", _PLANES - 40, ModalityLUTSequence=modality_lut(first, table, signed=True))
    expected = table[np.clip(_PLANES.astype(int) - 40 - first, 0, 199)]
    assert np.array_equal(read_volume(tmp_path / "series").array[0], expected)


def test_what_lies_beside_the_stored_bits_is_no_value(tmp_path):
    """Overlays of old scanners lie in the bits above."""
    write_slices(tmp_path / "series", _PLANES.astype(np.uint16) | 0xF000, bits_stored=12)
    assert np.array_equal(read_volume(tmp_path / "series").array[0], _PLANES)
    shutil.rmtree(tmp_path / "series")
    # Twelve signed bits without their sign extended.
    write_slices(tmp_path / "series", (_PLANES - 50) & 0x0FFF, bits_stored=12)
    assert np.array_equal(read_volume(tmp_path / "series").array[0], _PLANES - 50)


def test_implicit_value_representations(tmp_path):
    write_slices(tmp_path / "series", _PLANES, syntax=ImplicitVRLittleEndian, rescale=(0.5, 1))
    assert np.array_equal(read_volume(tmp_path / "series").array[0], _PLANES * 0.5 + 1)


def test_big_endian(tmp_path):
    write_slices(tmp_path / "series", _PLANES.astype(">i2"), rescale=(2, 1), syntax=ExplicitVRBigEndian)
    assert np.array_equal(read_volume(tmp_path / "series").array[0], _PLANES * 2 + 1)


def test_compressed_slices_have_the_values_of_plain_ones(tmp_path):
    def compressed(k):
        return {"rescale": (0.25, -k)}

    planes = np.random.default_rng(0).integers(0, 9000, (_COUNT, 16, 16)).astype(np.int16)
    for path in write_slices(tmp_path / "series", planes, modality="PT", change=compressed):
        data = pydicom.dcmread(path)
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(path)
    expected = planes * 0.25 - np.arange(_COUNT)[:, None, None]
    assert np.array_equal(read_volume(tmp_path / "series").array[0], expected)


def test_jpeg_2000(tmp_path):
    writer = sitk.ImageFileWriter()
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG2000")
    writer.KeepOriginalImageUIDOn()
    (tmp_path / "series").mkdir()
    planes = np.random.default_rng(0).integers(-500, 500, (3, 16, 16)).astype(np.int16)
    for number, plane in enumerate(planes):
        image = sitk.GetImageFromArray(plane[None])
        tags = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.7.{number + 1}",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.8",
            "0020|0032": f"0\\0\\{3 * number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(tmp_path / "series" / f"{number}.dcm"))
        writer.Execute(image)
    assert "1.2.840.10008.1.2.4.90" in str(pydicom.dcmread(tmp_path / "series" / "0.dcm").file_meta.TransferSyntaxUID)
    assert np.array_equal(read_volume(tmp_path / "series").array[0], planes)


# --- which files are one series ----------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, _COUNT])
def test_copies_of_slices_are_one_slice(tmp_path, copies):
    paths = write_slices(tmp_path / "series", _PLANES)
    for path in paths[:copies]:
        shutil.copy(path, path.with_name(f"{path.stem} (1).dcm"))
    volume = read_volume(tmp_path / "series")
    assert np.array_equal(volume.array[0], _PLANES)
    # The engine's results carry the notice.
    notices = stack_channels([volume])[1]
    assert len(notices) == 1
    assert "left out" in notices[0]


def test_files_of_one_instance_that_differ_are_refused(tmp_path):
    first = write_slices(tmp_path / "series", _PLANES)[0]
    data = pydicom.dcmread(first)
    data.PixelData = bytes(len(data.PixelData))
    data.save_as(first.with_name("other.dcm"))
    with pytest.raises(VolumeError, match=r"other\.dcm has the SOP Instance UID of IM0000\.dcm and differs"):
        read_volume(tmp_path / "series")


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        (lambda k: {"EchoTime": str(1 + k % 2)}, "of other echo times"),
        (lambda k: {"TemporalPositionIdentifier": k % 2}, "of other time points"),
        (lambda k: {"DiffusionBValue": float(k % 2)}, "of other diffusion weightings"),
        (lambda k: {}, "such as echoes or time points"),
    ],
)
def test_several_images_at_one_place_are_called_so(tmp_path, elements, words):
    write_slices(tmp_path / "series", _PLANES, change=lambda k: {"position": (0, 0, 2 * (k // 2)), **elements(k)})
    with pytest.raises(VolumeError, match=rf"several images at one place \(6 images at 3 places, {words}\)"):
        read_volume(tmp_path / "series")


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"orientation": (0, 1, 0, 0, 0, -1)}, "1 of 6 slices of another orientation"),
        ({"orientation": (1, 0, 0, 0, 0.9962, 0.0872)}, "1 of 6 slices of another orientation"),
        ({"spacing": (1.0, 1.0)}, "1 of 6 slices of another pixel spacing"),
        ({"pixels": np.zeros((9, 9), np.int16)}, "1 of 6 slices of another size"),
        ({"orientation": (0, 1, 0, 0, 0, -1), "ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "a localizer: move"),
    ],
)
@pytest.mark.parametrize("place", [0, 3])
def test_slices_unlike_the_others_are_named(tmp_path, odd, words, place):
    write_slices(tmp_path / "series", _PLANES, change=lambda k: odd if k == place else {})
    with pytest.raises(VolumeError, match=rf"{words}.*") as caught:
        read_volume(tmp_path / "series")
    assert f"IM{place:04d}.dcm" in str(caught.value)


def test_slices_beside_the_line_of_the_others_are_refused(tmp_path):
    write_slices(tmp_path / "series", _PLANES, change=lambda k: {"position": (5 * (k == 3), 0, 2 * k)})
    with pytest.raises(VolumeError, match=r"do not lie on one line \(one is 5 mm beside it\)"):
        read_volume(tmp_path / "series")


def test_slices_of_a_tilted_gantry_are_read_as_sheared(tmp_path):
    write_slices(tmp_path / "series", _PLANES, step=(0, 0.5, 2))
    volume = read_volume(tmp_path / "series")
    assert volume.grid.sheared
    assert volume.matrix[:3, 2] == pytest.approx([0, 0.5, 2])


@pytest.mark.parametrize("missing", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_without_a_place_are_refused(tmp_path, missing):
    """ITK takes 1 mm, or the order of the files."""
    for path in write_slices(tmp_path / "series", _PLANES):
        data = pydicom.dcmread(path)
        delattr(data, missing)
        data.save_as(path)
    with pytest.raises(VolumeError, match=r"does not say its (position|orientation|spacing) \(missing\)"):
        read_volume(tmp_path / "series")


def test_files_that_are_no_images_are_not_slices(tmp_path):
    write_slices(tmp_path / "series", _PLANES)
    (tmp_path / "series" / "._IM0000.dcm").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100))
    (tmp_path / "series" / "notes.txt").write_text("a patient")
    (tmp_path / "series" / "empty.dcm").touch()
    report = slice_dataset(_PLANES[0], (0, 0, 0), modality="SR", series="1.2.3")
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    save(report, tmp_path / "series" / "report.dcm")
    assert np.array_equal(read_volume(tmp_path / "series").array[0], _PLANES)


# --- files that are damaged or hostile ---------------------------------------------------------------------------


def test_an_element_longer_than_the_file_takes_no_memory(tmp_path):
    """1.4 kB that say one element has 3.75 GiB."""
    import resource

    path = write_slices(tmp_path / "series", _PLANES)[2]
    content = path.read_bytes()
    place = content.index(struct.pack("<HH", 0x0008, 0x0018))
    bomb = struct.pack("<HH2sHI", 0x0008, 0x0017, b"OB", 0, 0xF0000000)
    path.write_bytes(content[:place] + bomb + content[place:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(VolumeError, match=r"IM0002\.dcm"):
        read_volume(tmp_path / "series")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SamplesPerPixel": 1000}, "is a colour image"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "is a colour image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "is a colour image"),
        ({"BitsStored": 40}, "it stores 40 bits of 16"),
        ({"BitsAllocated": 12}, "has 12 bits for a pixel"),
        ({"Rows": 60000, "PixelData": b"\0\0"}, "slices of another size"),
        ({"PixelData": b"\0\0"}, "is cut short"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "its rescale slope is zero"),
        ({"RescaleSlope": "nan", "RescaleIntercept": "0"}, "does not say its slope"),
    ],
)  # fmt: skip
def test_a_slice_that_contradicts_itself_is_named(tmp_path, change, words):
    with pydicom.config.disable_value_validation():
        write_slices(tmp_path / "series", _PLANES, change=lambda k: change if k == 2 else {})
    with pytest.raises(VolumeError, match=rf"(?s)IM0002\.dcm.*{words}|{words}.*IM0002\.dcm"):
        read_volume(tmp_path / "series")


@pytest.mark.parametrize("spacing", [1e12, 1e-9])
def test_spacing_out_of_range(tmp_path, spacing):
    write_slices(tmp_path / "series", _PLANES, spacing=(spacing, spacing))
    with pytest.raises(VolumeError, match=r"has a voxel spacing of .* mm, outside of 0.0001 to 1000"):
        read_volume(tmp_path / "series")


def test_deflated_files_are_refused_before_they_are_inflated(tmp_path):
    data = slice_dataset(_PLANES[0], (0, 0, 0))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    (tmp_path / "series").mkdir()
    data.save_as(tmp_path / "series" / "a.dcm")
    with pytest.raises(VolumeError, match="is stored deflated"):
        read_volume(tmp_path / "series")


def test_deep_nesting_and_noise_end_in_a_sentence(tmp_path):
    path = write_slices(tmp_path / "series", _PLANES)[0]
    content = path.read_bytes()
    place = content.index(struct.pack("<HH", 0x0008, 0x0018))
    nested = struct.pack("<HH2sHI", 0x0008, 0x0017, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    path.write_bytes(content[:place] + nested * 5000 + content[place:])
    with pytest.raises(VolumeError, match=r"IM0000\.dcm"):
        read_volume(tmp_path / "series")
    rng = np.random.default_rng(0)
    for _ in range(100):
        altered = bytearray(content)
        for position in rng.integers(132, len(content), 4):
            altered[position] = rng.integers(256)
        path.write_bytes(altered)
        try:
            read_volume(tmp_path / "series")
        except VolumeError as error:
            assert str(error).endswith(".")  # noqa: PT017
