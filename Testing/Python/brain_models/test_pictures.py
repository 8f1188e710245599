"""The pictures of the models' cards."""

import numpy as np
import pytest
import torch
from PIL import Image

from NNMambaBrainModels.brain_landmarks.picture import draw_landmark
from NNMambaBrainModels.brain_scan_check import picture as scan_check_picture
from NNMambaBrainModels.brain_structures import picture as structures_picture
from NNMambaBrainModels.brain_structures import picture_samples
from NNMambaBrainModels.brain_structures.package import make_label
from NNMambaBrainModels.heads.structure_labels import StructureLabel
from NNMambaLib.volumes.volume import LPS_TO_RAS, Volume

RAS = LPS_TO_RAS @ np.diag([2.0, 2.0, 2.0, 1.0])


def mask(*boxes: tuple[slice, slice, slice]) -> Volume:
    array = np.zeros((1, 16, 20, 18), np.uint8)
    for box in boxes:
        array[0][box] = 1
    return Volume(array, RAS)


def test_errors_tell_what_is_called_brain_from_what_is_missed():
    brain, shifted = mask((slice(4, 10),) * 3), mask((slice(6, 12), slice(4, 10), slice(4, 10)))
    wrong = structures_picture.errors(brain, shifted).array[0]
    assert set(np.unique(wrong[4:6, 4:10, 4:10])) == {1}
    assert set(np.unique(wrong[10:12, 4:10, 4:10])) == {2}
    assert np.count_nonzero(wrong) == 2 * 2 * 36


@pytest.mark.parametrize(
    ("axis", "name", "letters"), [(0, "Axial", "RLAP"), (1, "Coronal", "RLSI"), (2, "Sagittal", "APSI")]
)
def test_the_worst_plane_goes_through_most_errors(axis, name, letters):
    wrong = mask((slice(5, 6), slice(7, 8), slice(9, 10)), (slice(5, 7), slice(7, 9), slice(9, 11)))
    worst = structures_picture.worst_plane(wrong, axis)
    assert (worst.name, worst.letters) == (name, letters)
    across = wrong.grid.to_index(worst.positions().reshape(-1, 3))[:, ::-1][:, axis]
    assert across == pytest.approx(np.full(len(across), (5, 7, 9)[axis]))


def test_the_scan_check_is_drawn_as_its_array_lies(tmp_path):
    array = np.zeros((1, 16, 20, 18), np.float32)
    array[0, 6:11], array[0, 11:] = 0.5, 1
    scan_check_picture.draw([(Volume(array, RAS), "steps")], tmp_path / "picture.png")
    pixels = np.asarray(Image.open(tmp_path / "picture.png").convert("L")) / 255
    # Through the second of the three slices, on which k points up: dark below grey.
    column = pixels[:, pixels.shape[1] // 2]
    dark, gray = np.flatnonzero(column < 0.1), np.flatnonzero(abs(column - 0.5) < 0.1)
    assert min(len(dark), len(gray)) > 20
    assert np.median(dark) > np.median(gray)


def test_a_landmark_is_drawn_at_its_place_and_what_was_found_beside_it():
    from matplotlib.figure import Figure

    volume = mask((slice(4, 10),) * 3)
    truth = volume.grid.to_physical(np.array([[9.0, 10.0, 8.0]]))[0]
    axes = Figure().subplots()
    # Found 4 mm further back and 2 mm higher: to the right of the truth, and above it.
    draw_landmark(axes, volume, truth, truth + np.array([0, 4, 2]), "AC")
    circle, cross = ((line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines)
    pixels_per_mm = 320 / 80
    assert cross[0] - circle[0] == pytest.approx(4 * pixels_per_mm)
    assert cross[1] - circle[1] == pytest.approx(-2 * pixels_per_mm)


def test_samples_are_drawn_above_their_labels(tmp_path):
    intensity, labels = torch.rand(1, 16, 20, 18), torch.full((16, 20, 18), 3)
    picture_samples.draw([(intensity, labels)] * picture_samples.COLUMNS, tmp_path / "samples.png")
    pixels = np.asarray(Image.open(tmp_path / "samples.png").convert("RGB"))
    upper, lower = np.split(pixels[: len(pixels) // 2 * 2], 2)
    white_matter = make_label(StructureLabel.CEREBRAL_WHITE_MATTER).color
    assert np.mean((lower == white_matter).all(-1)) > 0.5
    assert np.mean((upper == white_matter).all(-1)) < 0.1
