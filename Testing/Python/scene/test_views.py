"""The picture of a result."""

import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from NNMambaLib.errors import OutputError
from NNMambaLib.export.four_views import LANDMARK_COLOR, legend_rows, view_size
from NNMambaLib.models.manifest import Label
from NNMambaLib.results import Landmark, LandmarksResult, SegmentationResult
from NNMambaLib.volumes.volume import Volume

pytest.importorskip("slicer", reason="slicer-core is not installed")

SIZE = (900, 660)


def pixels_of(path):
    """Return a PNG as an array (row from the top, column, RGB)."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def share(pixels, color, tolerance=6):
    """Return the part of all pixels that have a colour, nearly."""
    return np.mean(np.abs(pixels.astype(int) - color).max(-1) <= tolerance)


def panels(pixels):
    """Return the four views of a picture, without their outermost pixels."""
    width, height = view_size(SIZE)
    top = round(SIZE[1] * 0.06)
    return [
        pixels[top + row * (height + 6) :][5 : height - 5, 6 + column * (width + 6) :][:, 5 : width - 5]
        for row in range(2)
        for column in range(2)
    ]


@pytest.fixture
def ball(provenance):
    """A bright ball in noise, its left half labelled 1 and its right half 2, and a small label 3 inside."""
    z, y, x = np.meshgrid(np.arange(24), np.arange(32), np.arange(30), indexing="ij")
    matrix = np.diag([2.0, 2.0, 2.5, 1.0])
    matrix[:3, 3] = [-29, -31, -30]
    position = [axis * step + start for axis, step, start in zip((x, y, z), (2, 2, 2.5), (-29, -31, -30), strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in position))
    noise = np.random.default_rng(0).normal(60, 5, radius.shape)
    volume = Volume((noise + 100 * (radius < 22))[None].astype(np.float32), matrix, "ball")
    labels = np.where(radius < 22, np.where(position[0] > 0, 1, 2), 0)
    labels[radius < 8] = 3
    definitions = tuple(
        Label(value, name, color)
        for value, name, color in ((1, "Left", (255, 0, 0)), (2, "Right", (0, 255, 0)), (3, "Core", (0, 0, 255)))
    )
    volumes = {label.name: float((labels == label.value).sum()) * 0.01 for label in definitions}
    return volume, SegmentationResult(Volume(labels[None].astype(np.uint8), matrix), definitions, volumes, provenance)


def test_the_picture_shows_the_volume_and_its_labels(ball, tmp_path):
    from NNMambaLib.scene.result_picture import render_views

    volume, segmentation = ball
    path = render_views(tmp_path / "views.png", volume, segmentation, title="A ball", size=SIZE)

    pixels = pixels_of(path)
    assert pixels.shape == (660, 900, 3)
    axial, sagittal, coronal, three_d = panels(pixels)
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        assert share(pixels[:, 690:], color) > 2e-4, "swatches in the legend"
    for view in (axial, coronal):
        red, green, blue = (view.astype(int) @ weights for weights in ([2, -1, -1], [-1, 2, -1], [-1, -1, 2]))
        columns = np.arange(view.shape[1])
        assert min(np.mean(plane > 60) for plane in (red, green, blue)) > 0.01
        # The patient's left is on the right of the picture.
        assert ((red > 60).sum(0) * columns).sum() / (red > 60).sum() > view.shape[1] / 2
        assert ((green > 60).sum(0) * columns).sum() / (green > 60).sum() < view.shape[1] / 2
    assert sagittal.std() > 20
    assert three_d.std() > 10
    assert [entry.name for entry in tmp_path.iterdir()] == ["views.png"]


def test_landmarks_are_drawn_where_they_lie(ball, provenance, tmp_path):
    from NNMambaLib.scene.result_picture import render_views

    volume, _ = ball
    landmarks = LandmarksResult(
        (Landmark("Front", "", (0.0, -20.0, 0.0), 0.9), Landmark("Nowhere", "", None, 0.1)), provenance
    )
    alone = pixels_of(render_views(tmp_path / "alone.png", volume, size=SIZE))
    found = pixels_of(render_views(tmp_path / "found.png", volume, landmarks=landmarks, size=SIZE))
    for before, after in zip(panels(alone)[:3], panels(found)[:3], strict=True):
        assert share(before, LANDMARK_COLOR, 30) == 0
        marked = np.argwhere(np.abs(after.astype(int) - LANDMARK_COLOR).max(-1) <= 30)
        assert len(marked) > 10
        # The views are centred on the only point that was found.
        assert np.all(np.abs(marked.mean(0) / after.shape[:2] - 0.5) < 0.1)


def test_the_legend_has_names_volumes_and_confidence(segmentation, landmarks):
    rows = [(row.text, row.value) for row in legend_rows(segmentation, landmarks)]
    assert rows == [
        ("Segments", "mL"),
        ("White matter", f"{segmentation.volumes_ml['White matter']:.1f}"),
        ("Écorce: left & right", "0.0"),
        ("Left thalamus", f"{segmentation.volumes_ml['Left thalamus']:.1f}"),
        ("Landmarks", "confidence"),
        ("1  Anterior commissure", "0.97"),
        ("2  Left orbit", "not found"),
        ("3  Nasion", "0.60"),
    ]


def test_a_hundred_labels_fit(ball, tmp_path):
    from NNMambaLib.scene.result_picture import render_views

    volume, segmentation = ball
    many = tuple(Label(value, f"Label {value} " * 6, (value, 255 - value, 90)) for value in range(1, 101))
    result = SegmentationResult(segmentation.labels, many, {}, segmentation.provenance)
    render_views(tmp_path / "views.png", volume, result, size=SIZE)


def test_no_labels_found_is_a_picture_too(ball, tmp_path):
    from NNMambaLib.scene.result_picture import render_views

    volume, segmentation = ball
    nothing = Volume(np.zeros_like(segmentation.labels.array), volume.matrix)
    result = SegmentationResult(nothing, segmentation.label_definitions, {}, segmentation.provenance)
    assert panels(pixels_of(render_views(tmp_path / "views.png", volume, result, size=SIZE)))[0].std() > 20


def test_bad_requests_are_refused_before_the_work(ball, tmp_path, monkeypatch):
    from NNMambaLib.scene import rendering
    from NNMambaLib.scene.result_picture import render_views

    volume, segmentation = ball
    with pytest.raises(OutputError, match="does not exist"):
        render_views(tmp_path / "missing" / "views.png", volume)
    with pytest.raises(OutputError, match="at least 800 x 600"):
        render_views(tmp_path / "views.png", volume, size=(300, 200))
    (tmp_path / "views.png").touch()
    with pytest.raises(OutputError, match="exists already"):
        render_views(tmp_path / "views.png", volume, segmentation)
    rendering.render_window_class.cache_clear()
    crashed = SimpleNamespace(returncode=-11, stdout="")
    monkeypatch.setattr("NNMambaLib.scene.rendering.subprocess.run", lambda *_, **__: crashed)
    with pytest.raises(OutputError, match="apt install libegl1 libgl1-mesa-dri"):
        render_views(tmp_path / "other.png", volume, segmentation)

    def hang(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr("NNMambaLib.scene.rendering.subprocess.run", hang)
    with pytest.raises(OutputError, match="OpenGL did not draw within 120 s: try again"):
        render_views(tmp_path / "other.png", volume, segmentation)
    rendering.render_window_class.cache_clear()
