"""The page with all cases of a batch."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NNMambaLib.batch.plan import Case
from NNMambaLib.batch.report_page import report_page
from NNMambaLib.batch.run_case import CaseRunner
from NNMambaLib.batch.summary import write_summary
from NNMambaLib.export.thumbnail import SIZE, landmarks_thumbnail, segmentation_thumbnail
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models.manifest import Label
from NNMambaLib.results import Landmark, LandmarksResult, SegmentationResult
from NNMambaLib.volumes.volume import Volume

# Oblique, anisotropic, with the patient's axes in another order than the array's.
OBLIQUE = np.array([[0.0, 0.4, 2.9, 10.0], [-1.1, 0.0, 0.3, -20.0], [0.1, -1.4, 0.6, 5.0], [0, 0, 0, 1]])


def rows(**of_cases):
    """Return rows as the summary has them, by case: (status, doubt)."""
    return [
        {
            "case": name,
            "status": status,
            "error": "" if status == "done" else "no <reason>",
            "notices": "",
            "doubt": doubt,
        }
        for name, (status, doubt) in of_cases.items()
    ]


def order(page):
    return re.findall(r"<h2>(\w+)</h2>", page)


def test_failures_come_first_then_the_most_doubtful(plan):
    page = report_page(plan, rows(a=("done", 0.1), b=("failed", None), c=("done", 0.9), d=("done", None)))
    assert order(page) == ["b", "c", "a", "d"]
    assert "failed: no &lt;reason&gt;" in page
    assert "3 done, 1 failed, 0 missing, 0 changed" in page
    assert "not for diagnosis" in page


def test_without_anything_that_tells_of_doubt_the_page_says_what_to_add(plan):
    assert "add --uncertainty" in report_page(plan, rows(a=("done", None)))
    assert "add --uncertainty" not in report_page(plan, rows(a=("done", 0.5)))


def test_the_page_holds_its_pictures_and_loads_nothing(plan, case):
    CaseRunner(plan).run(case)
    missing = Case("not there", ("nowhere.nrrd",))
    paths = write_summary(plan, [case, missing])
    page = Path(paths[2]).read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 1
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src &#x27;none&#x27;" in page
    assert 'href="uncertainty/case0.nrrd"' in page
    assert 'href="cases/not%20there/case.json"' in page
    (row, _) = json.loads(Path(paths[1]).read_text(encoding="utf-8"))["cases"]
    assert 0 < row["doubt"] <= 1


@pytest.mark.parametrize(
    ("task", "report", "doubt"),
    [
        ("segmentation", {"volumes_ml": {"a": 1.0}}, None),
        ("segmentation", {"volumes_ml": {"a": 1.0}, "mean_uncertainty": 0.25}, 0.25),
        ("segmentation", {"volumes_ml": {"a": 0.0}}, 1.0),
        ("landmarks", {"landmarks": [{"confidence": 0.9}, {"confidence": 0.25}]}, 0.75),
        ("classification", {"predictions": [{"probabilities": {"x": 0.5, "y": 0.5}}]}, 0.5),
    ],
)
def test_doubt_is_that_of_the_worst_part(task, report, doubt):
    assert TASKS[task].doubt(report) == doubt


def test_the_slice_with_the_most_labels_is_shown_where_it_lies():
    array = np.zeros((1, 20, 30, 40), np.int16)
    labels = np.zeros((1, 20, 30, 40), np.uint8)
    labels[0, 4:9, 22:25, 5:12] = 1
    volume = Volume(array, OBLIQUE)
    label = Label(1, "a", (255, 0, 0))
    result = SegmentationResult(Volume(labels, OBLIQUE), (label,), {"a": 1.0}, None)
    pixels = segmentation_thumbnail(result, volume)
    assert pixels.dtype == np.uint8
    assert max(pixels.shape[:2]) == SIZE
    red = np.argwhere(pixels[..., 0] > pixels[..., 1])
    # Seven voxels of 1.1 mm by three of 1.4 mm (or five of 2.9) are cut, wherever in the picture they lie.
    assert 20 < len(red) < 2000
    empty = replace(result, labels=Volume(np.zeros_like(labels), OBLIQUE))
    assert segmentation_thumbnail(empty, volume).shape == pixels.shape


def test_landmarks_are_marked_and_those_not_found_are_not():
    volume = Volume(np.zeros((1, 20, 30, 40), np.int16), OBLIQUE)
    at = tuple(volume.grid.to_physical(np.array([[20, 15, 10]]))[0])
    found, missed = Landmark("a", "", at, 0.9), Landmark("b", "", None, 0.1)
    marked = landmarks_thumbnail(LandmarksResult((found, missed), None), volume)
    assert (marked[..., 0] > marked[..., 2]).any()
    none = landmarks_thumbnail(LandmarksResult((missed,), None), volume)
    assert not (none[..., 0] > none[..., 2]).any()
