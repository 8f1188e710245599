"""What is written is read back the same, whatever it holds: here, by ITK, and by readers of CSV and JSON.

hypothesis chooses the volumes and texts, NNMAMBA_EXAMPLES (60) of each.
"""

import csv
import json
import os

import numpy as np
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from NNMambaLib.export.markups_file import read_markups, write_markups
from NNMambaLib.files import write_json, write_table
from NNMambaLib.results import Landmark, LandmarksResult, Provenance
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume

# The same examples in every run, and nothing kept from run to run; the folder of a test serves all of its examples.
examples = settings(
    max_examples=int(os.environ.get("NNMAMBA_EXAMPLES", "60")),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_TYPES = st.sampled_from([np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64])
_COORDINATE = st.floats(-1000, 1000)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def volumes(draw):
    """Return a volume of any type, size and number of channels, turned, mirrored and with uneven spacing."""
    dtype = np.dtype(draw(_TYPES))
    shape = draw(st.tuples(st.integers(1, 3), *[st.integers(2, 5)] * 3))
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    array = draw(arrays.arrays(dtype, shape, elements=arrays.from_dtype(dtype, **elements)))
    turns = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-180, 180)] * 3)), degrees=True).as_matrix()
    signs = draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    spacing = draw(st.tuples(*[st.floats(0.05, 20)] * 3))
    matrix = np.eye(4)
    matrix[:3, :3] = turns * signs * spacing
    matrix[:3, 3] = draw(st.tuples(*[_COORDINATE] * 3))
    return Volume(array, matrix)


@examples
@given(volume=volumes(), ending=st.sampled_from([".nrrd", ".nii", ".nii.gz", ".mha"]))
def test_a_volume_is_read_back_the_same_here_and_by_itk(volume, ending, tmp_path):
    # A stem of its own: ITK takes the voxels of any.nii.gz from any.nii, where both are there.
    path = tmp_path / f"{ending.replace('.', '')}{ending}"
    write_volume(volume, path)
    same = read_volume(path, check=False)
    np.testing.assert_array_equal(same.array, volume.array)
    assert same.array.dtype == volume.array.dtype
    # NIfTI keeps its geometry in single precision.
    np.testing.assert_allclose(same.matrix, volume.matrix, atol=2e-4, rtol=1e-5)
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image)
    voxels = np.moveaxis(voxels, -1, 0) if volume.channels > 1 else voxels[None]
    np.testing.assert_array_equal(voxels, volume.array)
    last = np.array(volume.grid.shape[::-1]) - 1
    expected = volume.matrix[:3, :3] @ last + volume.matrix[:3, 3]
    found = image.TransformContinuousIndexToPhysicalPoint(last.astype(float).tolist())
    np.testing.assert_allclose(found, expected, atol=2e-3)


@examples
@given(metadata=st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,15}", fullmatch=True), _TEXT, max_size=4))
def test_any_text_beside_the_voxels_leaves_an_nrrd_readable(metadata, tmp_path):
    volume = Volume(np.arange(8, dtype=np.uint8).reshape(1, 2, 2, 2), np.diag([1.0, 2, 3, 1]))
    for ending in (".nrrd", ".mha"):
        write_volume(volume, tmp_path / f"any{ending}", metadata)
        np.testing.assert_array_equal(read_volume(tmp_path / f"any{ending}").array, volume.array)


@examples
@given(
    names=st.lists(_TEXT.filter(str.strip), max_size=4, unique=True),
    definition=_TEXT,
    position=st.none() | st.tuples(*[_COORDINATE] * 3),
)
def test_landmarks_of_any_name_are_read_back(names, definition, position, tmp_path):
    provenance = Provenance("model", "1", "0" * 64, "engine", "cpu", "torch", {}, "", {})
    result = LandmarksResult(tuple(Landmark(name, definition, position, 0.5) for name in names), provenance)
    write_markups(result, tmp_path / "any.mrk.json")
    assert read_markups(tmp_path / "any.mrk.json") == dict.fromkeys(names, position)


@examples
@given(rows=st.lists(st.lists(_TEXT.filter(lambda text: "\0" not in text), min_size=1, max_size=3), max_size=4))
def test_any_cells_of_a_table_are_read_back(rows, tmp_path):
    rows = [["name", "value"], *rows]
    write_table(rows, tmp_path / "any.csv")
    with (tmp_path / "any.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == rows


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@examples
@given(content=_VALUES)
def test_any_report_is_read_back(content, tmp_path):
    write_json(content, tmp_path / "any.json")
    assert json.loads((tmp_path / "any.json").read_text(encoding="utf-8")) == content
