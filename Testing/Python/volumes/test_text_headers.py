"""NRRD and MetaImage: voxels and geometry as ITK has them, and no trust in what a header claims."""

import bz2
import gzip
import os
import re
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.phantoms import grid_matrix, oblique_rotation
from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

_SHAPE = (4, 6, 5)
_ARRAY = np.random.default_rng(0).integers(0, 100, _SHAPE).astype("<i2")
_NRRD = (
    "NRRD0004\n# made by hand\ntype: short\ndimension: 3\nsizes: 5 6 4\nendian: little\n"
    "space: left-posterior-superior\nspace directions: (1,0,0) (0,1.2,0) (0,0,2)\nspace origin: (5,6,7)\n"
    "note:=a:=b\nencoding: raw\n"
)
_MATRIX = np.array([[1, 0, 0, 5], [0, 1.2, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])
_META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nOffset = 5 6 7\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = 1 1.2 2\nDimSize = 5 6 4\nElementType = MET_SHORT\n"
)


def _from_image(image):
    """Return an image of ITK as a volume."""
    array = sitk.GetArrayFromImage(image)
    array = array[None] if image.GetNumberOfComponentsPerPixel() == 1 else np.moveaxis(array, -1, 0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return Volume(array, matrix)


def _nrrd(tmp_path, header=_NRRD, data=None, name="case.nrrd"):
    path = tmp_path / name
    path.write_bytes(header.encode() + b"\n" + (_ARRAY.tobytes() if data is None else data))
    return path


def _meta(tmp_path, header=_META, data=None, name="case.mha"):
    path = tmp_path / name
    path.write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + (_ARRAY.tobytes() if data is None else data))
    return path


# --- what ITK says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_files_of_itk_are_read_as_itk_does(tmp_path, dtype, compressed, channels, ending):
    array = np.random.default_rng(0).integers(0, 100, (*_SHAPE, channels)).astype(dtype)
    image = sitk.GetImageFromArray(array if channels > 1 else array[..., 0], isVector=channels > 1)
    matrix = grid_matrix("AIR", (0.7, 1.3, 3.0), _SHAPE, rotation=oblique_rotation())
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / f"case{ending}"), compressed)
    volume = read_volume(tmp_path / f"case{ending}")
    expected = _from_image(sitk.ReadImage(str(tmp_path / f"case{ending}")))
    assert volume.array.dtype == expected.array.dtype == np.dtype(dtype)
    assert np.array_equal(volume.array, expected.array)
    assert volume.matrix == pytest.approx(expected.matrix, abs=1e-9)
    assert volume.notices == ()


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("channels", [1, 3])
def test_itk_reads_what_is_written(tmp_path, channels, ending):
    matrix = grid_matrix("AIR", (0.7, 1.3, 3.0), _SHAPE, rotation=oblique_rotation())
    array = np.random.default_rng(0).random((channels, *_SHAPE), np.float32)
    notes = {"NNMamba_Notices": "a\\b\nc", "Other": "ä"}
    write_volume(Volume(array, matrix), tmp_path / f"case{ending}", notes)
    image = sitk.ReadImage(str(tmp_path / f"case{ending}"))
    found = _from_image(image)
    assert np.array_equal(found.array, array)
    assert found.matrix == pytest.approx(matrix, abs=1e-9)
    if ending == ".nrrd":
        assert {key: image.GetMetaData(key) for key in notes} == notes


@pytest.mark.parametrize(
    ("space", "signs"),
    [("left-posterior-superior", (1, 1)), ("RAS", (-1, -1)), ("left-anterior-superior", (1, -1))],
)
def test_spaces(tmp_path, space, signs):
    path = _nrrd(tmp_path, _NRRD.replace("left-posterior-superior", space))
    expected = _from_image(sitk.ReadImage(str(path)))
    assert read_volume(path).matrix == pytest.approx(np.diag([*signs, 1, 1]) @ _MATRIX)
    assert read_volume(path).matrix == pytest.approx(expected.matrix)


def test_channels_may_be_any_axis(tmp_path):
    for place, (sizes, directions) in enumerate(
        [
            ("2 5 6 4", "none ( 1, 0, 0 )(0,1.2,0)  (0,0,2)"),
            ("5 2 6 4", "(1,0,0) none (0,1.2,0) (0,0,2)"),
            ("5 6 4 2", "(1,0,0) (0,1.2,0) (0,0,2) none"),
        ]
    ):
        stored = np.stack([_ARRAY, -_ARRAY], axis=(3, 2, 0)[place])
        header = _NRRD.replace("dimension: 3", "dimension: 4").replace("5 6 4", sizes)
        header = header.replace("(1,0,0) (0,1.2,0) (0,0,2)", directions)
        volume = read_volume(_nrrd(tmp_path, header, stored.tobytes()))
        assert np.array_equal(volume.array, [_ARRAY, -_ARRAY])
        assert volume.matrix == pytest.approx(_MATRIX)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("raw", bytes),
        ("gz", gzip.compress),
        ("bzip2", bz2.compress),
        ("ascii", lambda data: " ".join(str(value) for value in np.frombuffer(data, "<i2")).encode()),
        ("hex", lambda data: data.hex().encode()),
    ],
)
def test_nrrd_encodings(tmp_path, encoding, pack):
    """ITK has no bzip2."""
    path = _nrrd(tmp_path, _NRRD.replace("encoding: raw", f"encoding: {encoding}"), pack(_ARRAY.tobytes()))
    assert np.array_equal(read_volume(path).array[0], _ARRAY)


def test_metaimage_numbers_in_text_and_big_endian(tmp_path):
    text = " ".join(str(value) for value in _ARRAY.ravel()).encode()
    assert np.array_equal(
        read_volume(_meta(tmp_path, _META.replace("Data = True", "Data = False"), text)).array[0], _ARRAY
    )
    big = _META.replace("MSB = False", "MSB = True")
    assert np.array_equal(read_volume(_meta(tmp_path, big, _ARRAY.astype(">i2").tobytes())).array[0], _ARRAY)


def test_what_a_header_leaves_out_is_said(tmp_path):
    bare = _NRRD.replace("space: left-posterior-superior\n", "space dimension: 3\n")
    assert "does not say which side is left" in read_volume(_nrrd(tmp_path, bare)).notices[0]
    bare = "\n".join(line for line in _NRRD.splitlines() if not line.startswith("space")) + "\n"
    assert "says no voxel spacing: 1 mm was taken" in read_volume(_nrrd(tmp_path, bare)).notices[0]
    bare = _META.replace("ElementSpacing = 1 1.2 2\n", "")
    assert "says no voxel spacing: 1 mm was taken" in read_volume(_meta(tmp_path, bare)).notices[0]


# --- detached headers --------------------------------------------------------------------------------------------


def _detached(tmp_path, name, data_file):
    if name.endswith(".nhdr"):
        (tmp_path / name).write_text(f"{_NRRD}data file: {data_file}\n")
    else:
        (tmp_path / name).write_text(f"{_META}ElementDataFile = {data_file}\n")
    return tmp_path / name


@pytest.mark.parametrize("name", ["case.nhdr", "case.mhd"])
def test_voxels_beside_the_header(tmp_path, name):
    (tmp_path / "voxels.raw").write_bytes(_ARRAY.tobytes())
    for number, plane in enumerate(_ARRAY):
        (tmp_path / f"slice{number}.raw").write_bytes(plane.tobytes())
    listed = "LIST\n" + "\n".join(f"slice{number}.raw" for number in range(4))
    for data_file in ("voxels.raw", "slice%d.raw 0 3 1", listed):
        assert np.array_equal(read_volume(_detached(tmp_path, name, data_file)).array[0], _ARRAY), data_file


@pytest.mark.parametrize("name", ["case.nhdr", "case.mhd"])
@pytest.mark.parametrize(
    ("data_file", "words"),
    [
        ("/dev/zero", "outside of its folder"),
        ("/dev/stdin", "outside of its folder"),
        ("../voxels.raw", "outside of its folder"),
        ("link.raw", "outside of its folder"),
        ("gone.raw", "gone.raw, which is missing: copy that file"),
        ("short.raw", r"is cut short \(100 of 240 bytes\)"),
        ("slice%d.raw 0 99999999 1", "it names .* data files"),
        ("%999999999d 0 1 1", "which is missing"),
        ("folder", "is a folder"),
        ("x" * 3000, "names the data file x{80}"),
        ("a\x1b[2Jb.raw", r"a\\x1b\[2Jb\.raw, which is missing"),
    ],
)
def test_data_files_elsewhere_or_missing_are_refused(tmp_path, name, data_file, words):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "folder").mkdir()
    (tmp_path / "voxels.raw").write_bytes(_ARRAY.tobytes())
    (folder / "link.raw").symlink_to(tmp_path / "voxels.raw")
    (folder / "short.raw").write_bytes(bytes(100))
    with pytest.raises(VolumeError, match=words):
        read_volume(_detached(folder, name, data_file))


# --- headers that claim what is not there, or do not end ---------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        ("sizes: 5 6 4", "sizes: 2000 1000 1000"),
        ("sizes: 5 6 4", "sizes: 20000 20000 20000"),
        ("sizes: 5 6 4", "sizes: 99999999999999999999 6 4"),
        ("sizes: 5 6 4", "sizes: -5 6 4"),
        ("sizes: 5 6 4", "sizes: 0 6 4"),
        ("sizes: 5 6 4", "sizes: nan 6 4"),
        ("sizes: 5 6 4", "sizes: 5 6"),
        ("dimension: 3", "dimension: 1000000"),
        ("dimension: 3", "dimension: three"),
        ("type: short", "type: block"),
        ("encoding: raw", "encoding: zrl"),
        ("encoding: raw", "encoding: raw\nline skip: 99999999999"),
        ("encoding: raw", "encoding: raw\nbyte skip: -7"),
        ("encoding: raw", "encoding: raw\nbyte skip: 100"),
        ("endian: little", "endian: middle"),
        ("endian: little\n", ""),
        ("(5,6,7)", "(5,-1e300,7)"),
        ("(5,6,7)", "(5,6)"),
        ("(0,0,2)", "(0,0,1e12)"),
        ("(0,0,2)", "(0,0,1e300)"),
        ("(0,0,2)", "(0,0,1e-9)"),
        ("(0,0,2)", "(0,1.2,0)"),
        ("(0,0,2)", "(0,0,nan)"),
        ("(0,0,2)", "(0,0,x)"),
        ("(0,0,2)", ""),
    ],
)
def test_nrrd_headers_that_contradict_themselves(tmp_path, change, monkeypatch):
    path = _nrrd(tmp_path, _NRRD.replace(*change))
    monkeypatch.setattr(np, "empty", lambda *arguments, **options: pytest.fail("memory was taken"))
    with pytest.raises(VolumeError, match=r"case\.nrrd.*\.$"):
        read_volume(path)


@pytest.mark.parametrize(
    "change",
    [
        ("DimSize = 5 6 4", "DimSize = 2000 1000 1000"),
        ("DimSize = 5 6 4", "DimSize = 5 6 4 3"),
        ("DimSize = 5 6 4", "DimSize = -5 6 4"),
        ("NDims = 3", "NDims = 1e6"),
        ("NDims = 3", "NDims = 11"),
        ("NDims = 3", "NDims = "),
        ("MET_SHORT", "MET_STRING"),
        ("MET_SHORT", "M" * 5000),
        ("MET_SHORT", "MET_SHORT\nElementNumberOfChannels = 1000000"),
        ("Offset = 5 6 7", "Offset = 5 -1e300 7"),
        ("Offset = 5 6 7", "Offset = " + "1 " * 5000),
        ("Spacing = 1 1.2 2", "Spacing = 1 1e12 2"),
        ("Spacing = 1 1.2 2", "Spacing = 1 1e300 2"),
        ("Spacing = 1 1.2 2", "Spacing = 1 0 2"),
        ("TransformMatrix = 1", "TransformMatrix = 0"),
    ],
)
def test_metaimage_headers_that_contradict_themselves(tmp_path, change, monkeypatch):
    path = _meta(tmp_path, _META.replace(*change))
    monkeypatch.setattr(np, "empty", lambda *arguments, **options: pytest.fail("memory was taken"))
    with pytest.raises(VolumeError, match=r"case\.mha.*\.$"):
        read_volume(path)


def test_long_metaimage_fields_hurt_nobody(tmp_path):
    """ITK writes those of 5,000 characters beyond its buffers."""
    for field in ("Name", "Comment", "AnatomicalOrientation", "Unheard"):
        path = _meta(tmp_path, _META.replace("NDims", f"{field} = {'A' * 5000}\nNDims"))
        assert np.array_equal(read_volume(path).array[0], _ARRAY)


@pytest.mark.parametrize("size", ["1e308", "1e300", "9" * 300, "18446744073709551616"])
def test_sizes_whose_product_no_number_holds(tmp_path, size):
    for path in (
        _nrrd(tmp_path, _NRRD.replace("sizes: 5 6 4", f"sizes: {size} 6 4")),
        _meta(tmp_path, _META.replace("DimSize = 5 6 4", f"DimSize = {size} 6 4")),
    ):
        with pytest.raises(VolumeError, match=f"{path.name}.* (damaged|cut short)"):
            read_volume(path)


@pytest.mark.parametrize(("start", "name"), [("NRRD0004\n", "case.nrrd"), ("ObjectType = Image\n", "case.mha")])
def test_headers_without_an_end(tmp_path, start, name):
    path = tmp_path / name
    path.write_bytes(start.encode() + b"Comment = " + b"A" * (20 << 20))
    with pytest.raises(VolumeError, match="header has no end"):
        read_volume(path)


def test_a_damaged_stream_is_damage(tmp_path):
    """ITK reads such a MetaImage as good, with zeros or worse."""
    voxels = np.random.default_rng(0).integers(0, 50, _SHAPE).astype("<i2")
    stream = zlib.compress(voxels.tobytes())
    header = _META.replace("MSB = False", "MSB = False\nCompressedData = True")
    assert read_volume(_meta(tmp_path, header, stream)).array.shape == (1, *_SHAPE)
    for place in range(2, len(stream)):
        altered = bytearray(stream)
        altered[place] ^= 0x10
        try:
            found = read_volume(_meta(tmp_path, header, altered))
        except VolumeError as error:
            assert re.search(r"case\.mha is (damaged|cut short)", str(error))  # noqa: PT017
        else:
            # Bits that pad the last byte mean nothing.
            assert np.array_equal(found.array[0], voxels)
            assert place == len(stream) - 5
    for kept in range(len(stream)):
        with pytest.raises(VolumeError, match=r"case\.mha is (damaged|cut short)"):
            read_volume(_meta(tmp_path, header, stream[:kept]))


def test_a_stream_that_holds_far_more_than_its_header_says(tmp_path):
    stream = zlib.compress(bytes(200 << 20), 9)
    header = _META.replace("MSB = False", "MSB = False\nCompressedData = True")
    with pytest.raises(VolumeError, match="far more voxels than its header says"):
        read_volume(_meta(tmp_path, header, stream))


# --- inputs that are not files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["case.nrrd", "case.nii.gz", "case.mha"])
def test_pipes_and_devices_are_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(VolumeError, match="is a pipe or a device, not a file: save the volume to a file first"):
        read_volume(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(VolumeError, match="is a pipe or a device"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_what_macos_stores_beside_a_file_is_named(tmp_path, ending):
    (tmp_path / f"._case{ending}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100))
    with pytest.raises(VolumeError, match=rf"not its voxels: give case{ending} instead"):
        read_volume(tmp_path / f"._case{ending}")


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/k\xfcrbis.nrrd")
    os.replace(_nrrd(tmp_path), path)
    with pytest.raises(VolumeError, match=r"k\\xfcrbis\.nrrd is not UTF-8: rename it") as caught:
        read_volume(path)
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("name", ["nul\0.nrrd", "nul\0.nii"])
def test_a_name_with_a_null_character_is_refused(name):
    with pytest.raises(VolumeError, match="cannot be opened"):
        read_volume(name)
