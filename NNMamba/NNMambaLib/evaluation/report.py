"""A report over cases for each task: metrics for programs, and a table for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.cases import paired_cases, paired_classes, paired_markups
from NNMambaLib.evaluation.classification import evaluate_classes
from NNMambaLib.evaluation.landmarks import RADII_MM, compare_landmarks
from NNMambaLib.evaluation.reliability_plot import plot_reliability
from NNMambaLib.evaluation.segmentation import LabelAgreement, compare_labels
from NNMambaLib.evaluation.summary import Summary, summarize
from NNMambaLib.export.markups_file import read_markups
from NNMambaLib.volumes.files import read_volume


@dataclass(frozen=True)
class Report:
    """What a comparison found.

    Attributes:
        content: ready for JSON; numbers that do not exist are null.
        header, rows: a table of it.
        footnote: what to print below the table.
        plot: writes a picture of it to a file (.png), where there is one.
    """

    content: dict[str, Any]
    header: list[str]
    rows: list[list[str]]
    footnote: str = ""
    plot: Callable[[str | Path], None] | None = None


_MAX_TOLERANCE = 1000.0
_INTERVALS = "In brackets: the mean's 95 % bootstrap interval over cases."


def report_segmentation(
    prediction: str | Path, reference: str | Path, tolerance: float = 1.0, names: Mapping[int, str] | None = None
) -> Report:
    """Compare the label volumes of two folders.

    Args:
        tolerance: of the normalised surface distance, mm.
        names: of the label values.

    Raises:
        VolumeError: if the tolerance is out of range, the folders do not hold the same cases, or a pair has different
            grids.
    """
    if not 0 <= tolerance <= _MAX_TOLERANCE:
        raise VolumeError(f"The tolerance is {tolerance} mm and must be at least 0 and at most {_MAX_TOLERANCE:g} mm.")
    cases = {
        case: compare_labels(read_volume(ours), read_volume(theirs), tolerance)
        for case, (ours, theirs) in paired_cases(prediction, reference).items()
    }
    values = sorted({value for labels in cases.values() for value in labels})
    name = {value: (names or {}).get(value, str(value)) for value in values}
    metrics = [field.name for field in fields(LabelAgreement)] + ["volume_difference_ml"]
    summaries = {
        name[value]: {
            metric: summarize([getattr(labels[value], metric) for labels in cases.values() if value in labels])
            for metric in metrics
        }
        for value in values
    }
    content = {
        "task": "segmentation",
        "tolerance_mm": tolerance,
        "labels": {label: {m: asdict(s) for m, s in summary.items()} for label, summary in summaries.items()},
        "cases": {
            case: {
                name[value]: asdict(agreement) | {"volume_difference_ml": agreement.volume_difference_ml}
                for value, agreement in labels.items()
            }
            for case, labels in cases.items()
        },
    }
    rows = [
        [label, str(s["dice"].count), *(_interval(s[m]) for m in ("dice", "hd95", "nsd", "volume_difference_ml"))]
        for label, s in summaries.items()
    ]
    header = ["label", "cases", "Dice", "HD95 mm", f"NSD at {tolerance:g} mm", "volume difference mL"]
    return Report(_without_nan(content), header, rows, _INTERVALS)


def report_landmarks(prediction: str | Path, reference: str | Path) -> Report:
    """Compare the markups (``.mrk.json``) of two folders.

    Raises:
        VolumeError: if the folders do not hold the same cases, or a file is not a markups file.
    """
    pairs = paired_markups(prediction, reference)
    ours, theirs = ([read_markups(pair[side]) for pair in pairs.values()] for side in (0, 1))
    accuracies = compare_landmarks(ours, theirs)
    content = {"task": "landmarks", "cases": list(pairs), "landmarks": {}}
    rows = []
    for name, accuracy in accuracies.items():
        summary = summarize(accuracy.errors)
        rates = {f"{radius:g}": accuracy.success_rate(radius) for radius in RADII_MM}
        content["landmarks"][name] = {
            "radial_error_mm": asdict(summary),
            "success_rate": rates,
            "missed": accuracy.missed,
            "false": accuracy.false,
        }
        shown = [_number(rate) for rate in rates.values()]
        rows.append([name, _interval(summary), *shown, str(accuracy.missed), str(accuracy.false)])
    everything = summarize([error for accuracy in accuracies.values() for error in accuracy.errors])
    content["all"] = {"radial_error_mm": asdict(everything)}
    rows.append(["all", _interval(everything), *[""] * len(RADII_MM), "", ""])
    header = ["landmark", "radial error mm", *(f"within {radius:g} mm" for radius in RADII_MM), "missed", "false"]
    return Report(_without_nan(content), header, rows, _INTERVALS)


def report_classification(prediction: str | Path, reference: str | Path) -> Report:
    """Compare the predictions of ``nnmamba classify`` in a folder with a table of classes.

    Raises:
        VolumeError: if the cases differ, a file holds no prediction or one of another model, or the table has a class
            that the model does not know.
    """
    cases = paired_classes(prediction, reference)
    first = next(iter(cases.values()))[0]
    content = {"task": "classification", "cases": list(cases), "targets": {}}
    rows = []
    for position, target in enumerate(first["predictions"]):
        classes = list(target["probabilities"])
        answers = [predictions["predictions"][position] for predictions, _ in cases.values()]
        probabilities = np.array([[answer["probabilities"][name] for name in classes] for answer in answers])
        predicted = [classes.index(answer["predicted"]) for answer in answers]
        column = target["target"] if target["target"] in next(iter(cases.values()))[1] else "class"
        truth = [_class_index(row, column, classes, case) for case, (_, row) in cases.items()]
        result = evaluate_classes(probabilities, truth, predicted)
        content["targets"][target["target"]] = {"classes": classes, **asdict(result)}
        binary = (
            [result.binary.auc, result.binary.sensitivity, result.binary.specificity]
            if result.binary
            else [math.nan] * 3
        )
        metrics = [result.accuracy, result.f1, *binary, result.reliability.calibration_error]
        rows.append([target["target"], str(len(cases)), *(_number(metric) for metric in metrics)])
    header = ["target", "cases", "accuracy", "F1", "AUC", "sensitivity", "specificity", "calibration error"]
    content = _without_nan(content)
    return Report(content, header, rows, plot=partial(plot_reliability, content["targets"]))


def _class_index(row: Mapping[str, str], column: str, classes: list[str], case: str) -> int:
    if row.get(column) not in classes:
        raise VolumeError(
            f"Case {case} has '{row.get(column)}' in the column {column}, and the model's classes are "
            f"{', '.join(classes)}: correct the table."
        )
    return classes.index(row[column])


def _interval(summary: Summary) -> str:
    if summary.mean is None:
        return "-"
    if summary.low is None or summary.high is None:
        return _number(summary.mean)
    return f"{_number(summary.mean)} ({_number(summary.low)}, {_number(summary.high)})"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _without_nan(value: Any) -> Any:
    """Return the value with NaN as None and infinity as a string, since JSON has neither."""
    if isinstance(value, float):
        return None if math.isnan(value) else ("infinite" if math.isinf(value) else value)
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    return [_without_nan(entry) for entry in value] if isinstance(value, (list, tuple)) else value
