"""The report: complete, self-contained, harmless whatever names say, and its picture right way round."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.phantoms import LANDMARKS, bright_points, grid_matrix, oblique_rotation, sample
from NNMambaLib.errors import OutputError
from NNMambaLib.export.classification_report import report_html, write_report
from NNMambaLib.export.explanation_picture import color_limit, slice_pictures
from NNMambaLib.results import ClassificationResult, Explanation, Prediction, Provenance
from NNMambaLib.volumes.volume import Volume

_SHAPE = (30, 40, 36)
_MATRIX = grid_matrix("LIP", (2.5, 2.0, 3.0), _SHAPE, oblique_rotation(20))
_NASTY = '<script>alert("x")</script> & "Ärger"'


class Page(HTMLParser):
    """A page's text, its pictures, and whatever it would load or run."""

    def __init__(self, content):
        super().__init__()
        self.text, self.pictures, self.tags, self.links = "", [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        if tag == "img":
            kind, data = attributes["src"].split(",", 1)
            assert kind == "data:image/png;base64"
            self.pictures.append(base64.b64decode(data, validate=True))
        self.links += [value for name, value in attributes.items() if name in ("href", "src", "onload", "onerror")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def volume():
    points = sample(bright_points, _SHAPE, _MATRIX)
    return Volume(points.array[:1], points.matrix, "head t1")


@pytest.fixture
def result(volume):
    provenance = Provenance(
        "check", "1.2.0", "ab" * 32, "0.1.0", "cpu", "numba", {"explain": "contrast"}, "2026-01-02T03:04:05+00:00",
        {"total": 2.0}, ("padded: 30x40x36 voxels",), "CC-BY-4.0",
    )  # fmt: skip
    predictions = (
        Prediction("contrast", {"T1-like": 0.7, "T2-like": 0.3}, "T1-like"),
        Prediction("axis", {"left": 0.051, "right": 0.949}, "right"),
    )
    explanation = Explanation("contrast", "T1-like", Volume(0.2 * volume.array, volume.matrix))
    return ClassificationResult(predictions, provenance, explanation=explanation)


def test_page_tells_everything(result, volume):
    page = Page(report_html(result, volume))
    for expected in (
        "head t1", "Research use only: not for diagnosis or treatment.", "contrast", "T1-like", "70.0 %", "5.1 %",
        "94.9 %", "predicted", "check", "1.2.0", "CC-BY-4.0", "ab" * 32, "0.1.0", "cpu", "numba",
        "2026-01-02T03:04:05+00:00", "padded: 30x40x36 voxels", "names the volume", "Zeiler and Fergus",
    ):  # fmt: skip
        assert expected in page.text, expected
    assert page.text.count("predicted") == 2
    assert re.search(r"Page made\s*20\d\d-\d\d-\d\dT", page.text)


def test_page_holds_three_pictures_and_loads_nothing(result, volume, tmp_path):
    page = Page(report_html(result, volume))
    assert len(page.pictures) == 3
    assert all(link.startswith("data:image/png") for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    (tmp_path / "slice.png").write_bytes(page.pictures[0])
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "slice.png")))
    assert np.array_equal(pixels, slice_pictures(volume, result.explanation)[0].pixels)


def test_names_are_text_and_never_markup(result, volume):
    from dataclasses import replace

    nasty = replace(
        result,
        predictions=(Prediction(_NASTY, {_NASTY: 1.0, "b": 0.0}, _NASTY),),
        provenance=replace(result.provenance, model=_NASTY, notices=(_NASTY,), licence=_NASTY, options={"o": "<b>"}),
        explanation=replace(result.explanation, target=_NASTY, predicted=_NASTY),
    )
    page = Page(report_html(nasty, Volume(volume.array, volume.matrix, _NASTY)))
    assert not {"script", "b"} & set(page.tags)
    assert page.text.count(_NASTY) == 9


def test_without_an_explanation_the_slices_are_plain(result, volume):
    from dataclasses import replace

    page = Page(report_html(replace(result, explanation=None), volume))
    assert len(page.pictures) == 3
    assert "Zeiler" not in page.text
    for picture in slice_pictures(volume):
        assert np.ptp(picture.pixels.astype(int), axis=-1).max() == 0


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "SLA"])
def test_slices_show_the_patient_as_their_letters_say(orientation):
    """A bright blob to the left, front and top is seen there, however the volume is stored."""
    shape = (40, 40, 40)
    points = sample(bright_points, shape, grid_matrix(orientation, (2.2, 2.2, 2.2), shape))
    center = points.grid.corners().mean(0)
    directions = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    explanation = Explanation("q", "a", Volume(points.array[:1], points.matrix))
    for picture in slice_pictures(Volume(points.array[:1], points.matrix), explanation):
        # Where the explanation is: coloured, not grey.
        colored = np.argwhere(np.ptp(picture.pixels.astype(int), axis=-1) > 60).mean(0)
        middle = (np.array(picture.pixels.shape[:2]) - 1) / 2
        offset = (colored - middle) * 88 / 320
        for along, letter in zip(offset[::-1], picture.letters[1::2], strict=True):
            axis, sign = directions[letter]
            assert along == pytest.approx(sign * (LANDMARKS[0] - center)[axis], abs=2.5), (picture.name, letter)


def test_sampling_agrees_with_simpleitk(volume):
    from NNMambaLib.export.slices import values_at
    from NNMambaLib.volumes.itk import to_image

    image, rng = to_image(volume), np.random.default_rng(0)
    indices = rng.uniform(0, 1, (500, 3)) * (np.array(_SHAPE[::-1]) - 1)
    positions = volume.grid.to_physical(indices)
    expected = [image.EvaluateAtPhysicalPoint(position.tolist(), sitk.sitkLinear) for position in positions]
    assert values_at(volume, positions[None], -1.0)[0] == pytest.approx(np.array(expected), abs=1e-5)
    far = positions + 1000
    assert np.all(values_at(volume, far[None], -1.0) == -1)


def test_faint_explanation_is_not_stretched_to_full_colour(volume):
    faint = Explanation("q", "a", Volume(1e-5 * volume.array, volume.matrix))
    assert color_limit(faint) == 0.001
    for picture in slice_pictures(volume, faint):
        assert np.ptp(picture.pixels.astype(int), axis=-1).max() < 8


def test_file_is_replaced_as_a_whole_or_not_at_all(result, volume, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")
    monkeypatch.setattr("NNMambaLib.export.explanation_picture.png", lambda pixels: b"")
    write_report(path, result, volume)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(tmp_path / "missing" / "report.html", result, volume)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_slices_meet_where_hiding_changes_most_also_against_the_answer(result, volume):
    from dataclasses import replace

    against = replace(result.explanation, volume=Volume(-0.2 * volume.array, volume.matrix))
    html = report_html(replace(result, explanation=against), volume)
    assert "there it rises by 0." in html
    nothing = replace(result.explanation, volume=Volume(np.zeros_like(volume.array), volume.matrix))
    assert "No region matters by itself" in report_html(replace(result, explanation=nothing), volume)
    pairs = zip(slice_pictures(volume, nothing), slice_pictures(volume), strict=True)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in pairs)
