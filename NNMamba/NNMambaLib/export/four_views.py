"""Compose four views, a heading and a legend into one image, (row from the top, column, RGB) of uint8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaLib.errors import OutputError
from NNMambaLib.export.slices import View
from NNMambaLib.files import atomic_file
from NNMambaLib.results import RESEARCH_USE, LandmarksResult, SegmentationResult

_PAPER = (24, 26, 31)
_INK = (236, 238, 242)
_FAINT = (158, 164, 176)
LANDMARK_COLOR = (255, 214, 64)
_WARNING = (255, 196, 84)
_GAP = 6
_LEGEND_SHARE = 0.235
_HEADING_SHARE = 0.06
_ROW = 30
_LEAST_ROW = 15


@dataclass(frozen=True)
class LegendRow:
    """One row of the legend: a colour in 0..255 (None: a heading), a text, and a value at the right end."""

    color: tuple[int, int, int] | None
    text: str
    value: str = ""


def view_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height in pixels of each of the four views of a picture of that size.

    Raises:
        OutputError: if the picture is too small to hold them.
    """
    if size[0] < 800 or size[1] < 600:
        raise OutputError(f"A picture of {size[0]} x {size[1]} pixels is too small: ask for at least 800 x 600.")
    left, top = _grid_extent(size)
    return (left - 3 * _GAP) // 2, (size[1] - top - 2 * _GAP) // 2


def compose(
    views: list[View],
    size: tuple[int, int],
    title: str,
    segmentation: SegmentationResult | None,
    landmarks: LandmarksResult | None,
) -> np.ndarray:
    """Return the whole picture: the views in two rows of two, the heading above and the legend on the right."""
    canvas = np.empty((size[1], size[0], 3), np.uint8)
    canvas[:] = _PAPER
    width, height = view_size(size)
    right, top = _grid_extent(size)
    result = segmentation or landmarks
    model = f"{result.provenance.model} {result.provenance.model_version}" if result else ""
    font = round(top * 0.42)
    _draw(canvas, title, (2 * _GAP, top // 2), font, limit=right - 4 * _GAP)
    _draw(canvas, model, (right + _GAP, top // 2), round(font * 0.75), limit=size[0] - right - 3 * _GAP)
    for index, view in enumerate(views):
        row, column = divmod(index, 2)
        x, y = _GAP + column * (width + _GAP), top + row * (height + _GAP)
        canvas[y : y + height, x : x + width] = view.pixels
        _annotate(canvas[y : y + height, x : x + width], view)
    _draw_legend(canvas[top:, right:], legend_rows(segmentation, landmarks))
    return canvas


def legend_rows(segmentation: SegmentationResult | None, landmarks: LandmarksResult | None) -> list[LegendRow]:
    """Return what the legend says: each label with its volume, each landmark with its number and confidence."""
    rows = []
    if segmentation is not None:
        rows.append(LegendRow(None, "Segments", "mL"))
        for label in segmentation.label_definitions:
            rows.append(LegendRow(label.color, label.name, f"{segmentation.volumes_ml.get(label.name, 0.0):,.1f}"))
    if landmarks is not None:
        rows.append(LegendRow(None, "Landmarks", "confidence"))
        for number, landmark in enumerate(landmarks.landmarks, start=1):
            value = f"{landmark.confidence:.2f}" if landmark.found else "not found"
            rows.append(LegendRow(LANDMARK_COLOR, f"{number}  {landmark.name}", value))
    return rows


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write an image as a PNG file; it appears whole or not at all."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(pixels[::-1]).reshape(-1, 3), deep=True))
    with atomic_file(path) as temporary:
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(temporary))
        writer.SetInputData(image)
        writer.Write()


def _grid_extent(size: tuple[int, int]) -> tuple[int, int]:
    """Return the column at which the views end and the row at which they begin."""
    return round(size[0] * (1 - _LEGEND_SHARE)), round(size[1] * _HEADING_SHARE)


def _annotate(pixels: np.ndarray, view: View) -> None:
    height, width = pixels.shape[:2]
    font = max(12, round(height * 0.034))
    margin = font
    _draw(pixels, view.name, (margin // 2, margin), font, _FAINT)
    if view.letters:
        places = ((margin, height // 2), (width - margin, height // 2), (width // 2, margin))
        places += ((width // 2, height - margin),)
        for letter, place in zip(view.letters, places, strict=True):
            _draw(pixels, letter, place, font, align="center")


def _draw_legend(pixels: np.ndarray, rows: list[LegendRow]) -> None:
    height, width = pixels.shape[:2]
    note = max(13, round(width / 22))
    lines = RESEARCH_USE.split(": ", 1)
    room = height - 2 * _GAP - 2 * (len(lines) + 1) * note
    step = max(_LEAST_ROW, min(round(_ROW * width / 376), room // max(1, len(rows))))
    shown = rows if len(rows) * step <= room else rows[: room // step - 1]
    for index, row in enumerate(shown):
        _draw_row(pixels[index * step : (index + 1) * step], row)
    if len(shown) < len(rows):
        _draw_row(pixels[len(shown) * step :][:step], LegendRow(None, f"and {len(rows) - len(shown)} more"))
    for index, line in enumerate(reversed(lines)):
        color = _WARNING if index == len(lines) - 1 else _FAINT
        text = line if line.endswith(".") or index else f"{line}."
        _draw(pixels, text[0].upper() + text[1:], (_GAP, height - round((index + 1) * 1.6 * note)), note, color)


def _draw_row(pixels: np.ndarray, row: LegendRow) -> None:
    height, width = pixels.shape[:2]
    font = max(10, round(height * 0.56))
    middle, left = height // 2, _GAP
    ink = _FAINT if row.color is None else _INK
    taken = _draw(pixels, row.value, (width - 2 * _GAP, middle), font, ink, align="right")
    if row.color is not None:
        side = round(height * 0.62)
        top = (height - side) // 2
        pixels[top : top + side, left : left + side] = _FAINT
        pixels[top + 1 : top + side - 1, left + 1 : left + side - 1] = row.color
        left += side + _GAP
    _draw(pixels, row.text, (left, middle), font, ink, limit=width - 4 * _GAP - taken - left)


def _draw(
    pixels: np.ndarray,
    text: str,
    place: tuple[int, int],
    font: int,
    color: tuple[int, int, int] = _INK,
    align: str = "left",
    limit: int | None = None,
) -> int:
    """Draw a line of text with a shadow, readable on any background, and return its width in pixels.

    Args:
        place: column of its left end, right end or centre by `align`, and row of its middle.
        limit: width in pixels beyond which it is cut short.
    """
    if not text:
        return 0
    ink = _ink(text, font)
    kept = len(text)
    while limit is not None and ink.shape[1] > limit and kept > 1:
        kept -= 1
        ink = _ink(text[:kept].rstrip() + "…", font)
    x = place[0] - {"left": 0, "right": ink.shape[1], "center": ink.shape[1] // 2}[align]
    y = place[1] - ink.shape[0] // 2
    target = pixels[max(0, y) : y + ink.shape[0], max(0, x) : x + ink.shape[1]]
    coverage = ink[max(0, -y) :, max(0, -x) :][: target.shape[0], : target.shape[1], None]
    shade = np.zeros_like(coverage)
    shade[1:, 1:] = coverage[:-1, :-1]
    target[:] = (target * (1 - shade) * (1 - coverage) + np.array(color) * coverage).astype(np.uint8)
    return ink.shape[1]


def _ink(text: str, font: int) -> np.ndarray:
    """Return a text's coverage in 0..1, (row from the top, column); texts of one font size have equally many rows."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    style = vtk.vtkTextProperty()
    style.SetFontSize(font)
    style.SetColor(1, 1, 1)
    image, size = vtk.vtkImageData(), [0, 0]
    renderer = vtk.vtkTextRenderer.GetInstance()
    if not renderer.RenderString(style, text, image, size, 72):
        raise OutputError(f"The text '{text}' cannot be drawn: use another name.")
    width, height, _ = image.GetDimensions()
    alpha = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., -1]
    return alpha[: size[1], : size[0]][::-1] / 255
