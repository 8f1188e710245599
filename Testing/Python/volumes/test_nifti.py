"""NIfTI: voxels and geometry as nibabel has them, a notice where a file contradicts itself, and no trust in sizes."""

import bz2
import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.volumes.checks import stack_channels
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import LPS_TO_RAS, Volume

_SHAPE = (6, 5, 4)
_ARRAY = np.random.default_rng(0).integers(0, 100, _SHAPE).astype(np.int16)
_STRAIGHT = np.array([[1.0, 0, 0, 5], [0, 1.2, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])


def _rotations(count):
    rng = np.random.default_rng(1)
    for _ in range(count):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        affine = np.eye(4)
        affine[:3, :3] = rotation * rng.uniform(0.3, 4, 3)
        affine[:3, 3] = rng.uniform(-200, 200, 3)
        yield affine


def _image(array=_ARRAY, affine=_STRAIGHT, sform=1, qform=1, kind=nibabel.Nifti1Image):
    image = kind(array, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    return image


def _lps(affine):
    return LPS_TO_RAS @ affine


# --- what nibabel says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (4, 0), (0, 1), (0, 0), (2, 3)])
def test_geometry_is_that_of_nibabel(tmp_path, sform, qform, kind):
    for number, affine in enumerate([_STRAIGHT, *_rotations(8)]):
        path = tmp_path / f"{number}.nii.gz"
        _image(affine=affine, sform=sform, qform=qform, kind=kind).to_filename(path)
        volume = read_volume(path)
        assert volume.matrix == pytest.approx(_lps(nibabel.load(path).affine), abs=1e-6)
        assert np.array_equal(volume.array[0], _ARRAY.transpose(2, 1, 0))
        # One form that agrees with the voxel sizes leaves nothing to say.
        assert bool(volume.notices) == (sform == qform == 0)


@pytest.mark.parametrize("turn", [1e-9, 1e-4, 3e-4, 1e-3])
def test_a_quaternion_near_half_a_turn_is_no_contradiction(tmp_path, turn):
    c, s = np.cos(np.pi - turn), np.sin(np.pi - turn)
    affine = np.eye(4)
    affine[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    affine[:3, 3] = 90, -120, 40
    array = np.zeros((200, 200, 4), np.int16)
    _image(array, affine).to_filename(tmp_path / "case.nii.gz")
    assert read_volume(tmp_path / "case.nii.gz").notices == ()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_types_and_byte_orders(tmp_path, dtype, order):
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    array = _ARRAY.astype(dtype)
    nibabel.Nifti1Image(array, _STRAIGHT, header).to_filename(tmp_path / "case.nii")
    volume = read_volume(tmp_path / "case.nii")
    assert volume.array.dtype == np.dtype(dtype)
    assert np.array_equal(volume.array[0], array.transpose(2, 1, 0))


@pytest.mark.parametrize("slope", [0.25, 3.0, -0.1])
def test_scaled_voxels_have_the_values_of_nibabel(tmp_path, slope):
    image = _image()
    image.header.set_slope_inter(slope, -7)
    image.to_filename(tmp_path / "case.nii.gz")
    # nibabel scales down what it is given when it writes.
    expected = nibabel.load(tmp_path / "case.nii.gz").get_fdata().transpose(2, 1, 0)
    volume = read_volume(tmp_path / "case.nii.gz")
    assert volume.array.dtype == np.float32
    assert volume.array[0] == pytest.approx(expected, rel=1e-6)


def test_channels_and_colors(tmp_path):
    vectors = np.random.default_rng(0).random((*_SHAPE, 1, 3), np.float32)
    _image(vectors).to_filename(tmp_path / "vectors.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "vectors.nii.gz").array, vectors[..., 0, :].transpose(3, 2, 1, 0))
    colors = np.random.default_rng(0).integers(0, 255, (*_SHAPE, 3), np.uint8)
    structured = colors.view([("R", "u1"), ("G", "u1"), ("B", "u1")]).reshape(_SHAPE)
    _image(structured).to_filename(tmp_path / "colors.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "colors.nii.gz").array, colors.transpose(3, 2, 1, 0))
    _image(_ARRAY[..., None]).to_filename(tmp_path / "one.nii.gz")
    assert read_volume(tmp_path / "one.nii.gz").array.shape == (1, 4, 5, 6)


# --- files that contradict themselves ----------------------------------------------------------------------------


def test_sform_and_qform_that_differ(tmp_path):
    moved = _STRAIGHT.copy()
    moved[:3, 3] += [94, 0, 0]
    image = _image()
    image.set_qform(moved, 1)
    image.to_filename(tmp_path / "case.nii.gz")
    volume = read_volume(tmp_path / "case.nii.gz")
    assert volume.matrix == pytest.approx(_lps(_STRAIGHT))
    notice = "case.nii.gz lies up to 94 mm elsewhere by its qform than by its sform: the sform was taken, as nibabel"
    assert notice in volume.notices[0]
    # The engine's results carry the notice.
    assert stack_channels([volume])[1] == list(volume.notices)


def test_sform_and_voxel_sizes_that_differ(tmp_path):
    """The volume of a label is 2.4 times as large by the one as by the other."""
    image = _image(qform=0)
    image.header["pixdim"][1:4] = 1
    image.to_filename(tmp_path / "case.nii.gz")
    volume = read_volume(tmp_path / "case.nii.gz")
    assert volume.grid.voxel_volume == pytest.approx(2.4)
    assert "1 x 1.2 x 2 mm by its sform and of 1 x 1 x 1 mm by its pixdim: the sform" in volume.notices[0]


def test_neither_sform_nor_qform(tmp_path):
    _image(sform=0, qform=0).to_filename(tmp_path / "case.nii.gz")
    notice = read_volume(tmp_path / "case.nii.gz").notices[0]
    assert "neither where it lies nor which side is left" in notice
    assert "1 x 1.2 x 2 mm" in notice


def test_an_sform_of_zeros_is_left_out_with_a_notice(tmp_path):
    volume = read_volume(_altered(tmp_path, 280, "<12f", (0.0,) * 12))
    assert volume.matrix == pytest.approx(_lps(_STRAIGHT), abs=1e-6)
    assert "an sform without extent" in volume.notices[0]


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e-3), ("meter", 1e3)])
def test_other_units_become_mm(tmp_path, unit, factor):
    image = _image(affine=np.diag([0.7 / factor, 0.7 / factor, 0.7 / factor, 1]))
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "case.nii.gz")
    volume = read_volume(tmp_path / "case.nii.gz")
    assert volume.grid.spacing == pytest.approx([0.7] * 3)
    assert "converted to mm" in volume.notices[0]


def test_sheared_axes_are_read_as_those_of_a_tilted_gantry(tmp_path):
    affine = _STRAIGHT.copy()
    affine[0, 1] = 0.15
    _image(affine=affine, qform=0).to_filename(tmp_path / "case.nii.gz")
    volume = read_volume(tmp_path / "case.nii.gz")
    assert volume.grid.sheared
    assert volume.matrix == pytest.approx(_lps(affine))


def test_axes_off_right_angles_by_rounding_are_straightened(tmp_path):
    affine = _STRAIGHT.copy()
    affine[0, 1] = 0.0003
    _image(affine=affine, qform=0).to_filename(tmp_path / "case.nii.gz")
    volume = read_volume(tmp_path / "case.nii.gz")
    assert not volume.grid.sheared
    assert volume.matrix == pytest.approx(_lps(affine), abs=1e-3)
    assert "by rounding" in volume.notices[0]
    write_volume(volume, tmp_path / "again.nii.gz")


# --- what is written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_forms_are_written_and_other_readers_agree(tmp_path, channels, ending):
    array = np.random.default_rng(0).random((channels, *_SHAPE), np.float32)
    for number, affine in enumerate([_STRAIGHT, *_rotations(8)]):
        path = tmp_path / f"{number}{ending}"
        write_volume(Volume(array, _lps(affine)), path)
        image = nibabel.load(path)
        for form, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
            assert code > 0
            assert form == pytest.approx(affine, abs=1e-3)
        assert image.get_sform() == pytest.approx(affine, rel=1e-6, abs=1e-4)
        assert image.header.get_zooms()[:3] == pytest.approx(np.linalg.norm(affine[:3, :3], axis=0))
        found = np.asarray(image.dataobj)
        assert np.array_equal(found if channels == 1 else found[..., 0, :], array[0].T if channels == 1 else array.T)
        itk = sitk.ReadImage(str(path))
        assert itk.TransformIndexToPhysicalPoint((3, 4, 5)) == pytest.approx(
            (_lps(affine) @ [3, 4, 5, 1])[:3], abs=1e-2
        )
        assert read_volume(path).notices == ()


def test_what_nifti_cannot_hold_is_not_written(tmp_path):
    with pytest.raises(OutputError, match="too many for NIfTI"):
        write_volume(Volume(np.zeros((1, 2, 2, 40000), np.uint8), np.eye(4)), tmp_path / "long.nii.gz")
    assert not list(tmp_path.iterdir())


# --- valid files that others call damaged ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip.nii", gzip.compress),
        ("plain.nii.gz", bytes),
        ("Mixed.Nii.Gz", gzip.compress),
        ("bzip2.nii", bz2.compress),
        ("members.nii.gz", lambda content: gzip.compress(content[:400]) + gzip.compress(content[400:])),
        ("padded.nii.gz", lambda content: gzip.compress(content) + bytes(512)),
    ],
)
def test_compression_is_told_by_the_content(tmp_path, name, pack):
    _image().to_filename(tmp_path / "case.nii")
    (tmp_path / name).write_bytes(pack((tmp_path / "case.nii").read_bytes()))
    assert np.array_equal(read_volume(tmp_path / name).array[0], _ARRAY.T)


@pytest.mark.skipif(np.dtype("g").itemsize != 16, reason="long double is no 16 bytes here")
def test_128_bit_floating_point(tmp_path):
    _image().to_filename(tmp_path / "case.nii")
    content = bytearray((tmp_path / "case.nii").read_bytes()[:352])
    struct.pack_into("<2h", content, 70, 1536, 128)
    (tmp_path / "case.nii").write_bytes(content + _ARRAY.T.astype("g").tobytes())
    assert np.array_equal(read_volume(tmp_path / "case.nii").array[0], _ARRAY.T)


@pytest.mark.parametrize(
    ("place", "form", "value", "words"),
    [
        (344, "<4s", b"ni1\0", "is the header of a pair .hdr and .img: convert"),
        (344, "<4s", b"\0\0\0\0", "perhaps Analyze 7.5, which does not say left from right"),
        (70, "<h", 1, "of the type binary, which cannot be read here"),
        (70, "<h", 2048, "of the type 256-bit complex"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, place, form, value, words):
    with pytest.raises(VolumeError, match=words):
        read_volume(_altered(tmp_path, place, form, value))


# --- headers that claim what is not there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "form", "value"),
    [
        (42, "<3h", (2000, 1000, 1000)),
        (40, "<8h", (7, *[32767] * 7)),
        (42, "<h", -5),
        (40, "<h", 9),
        (108, "<f", 1e30),
        (108, "<f", float("nan")),
        (108, "<f", -1.0),
        (72, "<h", 8),
        (112, "<2f", (1.0, float("inf"))),
        (76, "<4f", (1, 1e12, 1, 1)),
        (280, "<f", 1e30),
        (292, "<f", 1e30),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_claims_are_compared_with_the_file_before_memory_is_taken(tmp_path, place, form, value, ending, monkeypatch):
    monkeypatch.setattr(np, "empty", lambda *arguments, **options: pytest.fail("memory was taken"))
    path = _altered(tmp_path, place, form, value)
    if ending == ".nii.gz":
        path = tmp_path / "case.nii.gz"
        path.write_bytes(gzip.compress((tmp_path / "case.nii").read_bytes()))
    if place == 76:
        # A notice, as long as the sform says the sizes.
        monkeypatch.undo()
        assert "by its pixdim" in read_volume(path).notices[0]
        return
    with pytest.raises(VolumeError, match=r"case\.nii.*\.$"):
        read_volume(path)


def test_a_gzip_checksum_that_differs_is_damage(tmp_path):
    _image().to_filename(tmp_path / "case.nii.gz")
    content = bytearray((tmp_path / "case.nii.gz").read_bytes())
    content[-6] ^= 1
    (tmp_path / "case.nii.gz").write_bytes(content)
    with pytest.raises(VolumeError, match="is damaged or cut short"):
        read_volume(tmp_path / "case.nii.gz")


def _altered(tmp_path, place, form, value):
    _image().to_filename(tmp_path / "case.nii")
    content = bytearray((tmp_path / "case.nii").read_bytes())
    struct.pack_into(form, content, place, *(value if isinstance(value, tuple) else (value,)))
    (tmp_path / "case.nii").write_bytes(content)
    return tmp_path / "case.nii"
