"""Markups as Slicer and others write them: all lists are read, in LPS and mm, or the file is refused by name."""

import json

import pytest

from NNMambaLib.errors import VolumeError
from NNMambaLib.export.markups_file import read_markups


def point(label, *position, status="defined"):
    return {"label": label, "position": list(position), "positionStatus": status}


def markup(*points, system="LPS", **more):
    return {"type": "Fiducial", "coordinateSystem": system, "controlPoints": list(points), **more}


@pytest.fixture
def read(tmp_path):
    def read_text(*markups):
        path = tmp_path / "points.mrk.json"
        path.write_text(json.dumps({"markups": markups}))
        return read_markups(path)

    return read_text


def test_all_lists_are_read_each_in_its_own_system(read):
    lists = markup(point("A", 1, 2, 3)), markup(point("B", 1, 2, 3), system="RAS"), markup()
    assert read(*lists) == {"A": (1, 2, 3), "B": (-1, -2, 3)}


def test_a_point_that_two_lists_have_is_refused(read):
    with pytest.raises(VolumeError, match="has two points named 'A': rename or remove one"):
        read(markup(point("A", 1, 2, 3)), markup(point("A", 4, 5, 6)))


@pytest.mark.parametrize("unit", ["mm", ["mm", "UCUM", "millimeter"]])
def test_millimetres_are_read(read, unit):
    assert read(markup(point("A", 1, 2, 3), coordinateUnits=unit)) == {"A": (1, 2, 3)}


def test_nan_is_a_position_only_where_it_is_undefined(read):
    nan = float("nan")
    assert read(markup(point("A", nan, nan, nan, status="undefined"))) == {"A": None}
    with pytest.raises(VolumeError, match=r"'A' at .nan, nan, nan., which is not a position"):
        read(markup(point("A", nan, nan, nan)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (markup(point(5, 1, 2, 3)), "a point with the label 5"),
        (markup(point("", 1, 2, 3)), "a point with the label ''"),
        (markup(point("A", 1, 2)), "which is not a position"),
        (markup(point("A", 1, 2, "3")), "which is not a position"),
        (markup(point("A", 1, 2, 1e300)), "which is not a position"),
        (markup(point("A", 1, 2, 3), system="XYZ"), "the coordinate system 'XYZ': save it again in LPS or RAS"),
        (markup(point("A", 1, 2, 3), system=[]), "the coordinate system []"),
        (markup(point("A", 1, 2, 3), coordinateUnits="m"), "positions in the unit 'm': save it again in mm"),
        ({"controlPoints": [1]}, "is not a Slicer markups file"),
        ([], "is not a Slicer markups file"),
    ],
)
def test_what_cannot_be_read_is_named(read, content, words):
    with pytest.raises(VolumeError) as error:
        read(content)
    assert words in str(error.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '{"markups": []}', '{"markups": [{"x": "\\udc80"}]}', "1"])
def test_other_json_is_named(tmp_path, text):
    path = tmp_path / "points.mrk.json"
    path.write_text(text)
    with pytest.raises(VolumeError, match="is not a Slicer markups file"):
        read_markups(path)
