"""Accuracy and calibration of predicted class probabilities, with scikit-learn's metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Type checkers take scikit-learn's parameter for a string, by its default.
_ZERO_DIVISION: Any = 0


@dataclass(frozen=True)
class BinaryAccuracy:
    """Metrics of two classes, the second being the one to detect; all are NaN where a class does not occur.

    Attributes:
        youden_threshold: probability at which sensitivity + specificity is largest (Youden's index). Choose it on other
            data than those it is used on.
    """

    auc: float
    sensitivity: float
    specificity: float
    precision: float
    youden_threshold: float


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: predictions in ten bins of the predicted class's probability.

    Attributes:
        confidence, accuracy, count: of each bin that is not empty: mean probability, fraction predicted right, cases.
        calibration_error: expected calibration error, the mean of |accuracy - confidence| weighted by count.
    """

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    count: tuple[int, ...]
    calibration_error: float


@dataclass(frozen=True)
class ClassificationAccuracy:
    """Metrics over all cases; `f1` is the mean over the classes (macro), `binary` is None for more than two classes."""

    accuracy: float
    f1: float
    confusion: tuple[tuple[int, ...], ...]
    reliability: Reliability
    binary: BinaryAccuracy | None


def evaluate_classes(
    probabilities: np.ndarray, truth: Sequence[int], predicted: Sequence[int]
) -> ClassificationAccuracy:
    """Return the accuracy of class probabilities.

    Args:
        probabilities: (case, class), rows summing to 1.
        truth: index of each case's class.
        predicted: index of the class that the model predicted for each case; its threshold decides, so that need not be
            the most probable one.

    Raises:
        ValueError: if there are no cases, or not one truth and one prediction a case.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    p, true, chosen = np.asarray(probabilities, float), np.asarray(truth, int), np.asarray(predicted, int)
    if p.ndim != 2 or not len(p) == len(true) == len(chosen) > 0:
        raise ValueError(
            "Probabilities (case, class) and one truth and one prediction a case are needed, not "
            f"{p.shape}, {true.shape} and {chosen.shape}."
        )
    classes = list(range(p.shape[1]))
    return ClassificationAccuracy(
        float(accuracy_score(true, chosen)),
        float(f1_score(true, chosen, labels=classes, average="macro", zero_division=_ZERO_DIVISION)),
        tuple(tuple(int(n) for n in row) for row in confusion_matrix(true, chosen, labels=classes)),
        reliability(p[np.arange(len(true)), chosen], chosen == true),
        _binary(p[:, 1], true, chosen) if len(classes) == 2 else None,
    )


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> Reliability:
    """Return the reliability of predictions from their confidence, 0..1, and whether they were right; both (case,)."""
    index = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    used = [number for number in range(bins) if (index == number).any()]
    means = [float(np.mean(confidence[index == number])) for number in used]
    hits = [float(np.mean(right[index == number])) for number in used]
    counts = [int((index == number).sum()) for number in used]
    gaps = np.abs(np.subtract(means, hits))
    return Reliability(tuple(means), tuple(hits), tuple(counts), float(np.average(gaps, weights=counts)))


def _binary(p: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> BinaryAccuracy:
    from sklearn.metrics import precision_score, recall_score, roc_auc_score, roc_curve

    if len(set(truth)) < 2:
        return BinaryAccuracy(*([float("nan")] * 5))
    false_rate, true_rate, thresholds = roc_curve(truth, p)
    return BinaryAccuracy(
        float(roc_auc_score(truth, p)),
        float(recall_score(truth, predicted, zero_division=_ZERO_DIVISION)),
        float(recall_score(truth, predicted, pos_label=0, zero_division=_ZERO_DIVISION)),
        float(precision_score(truth, predicted, zero_division=_ZERO_DIVISION)),
        float(thresholds[np.argmax(true_rate - false_rate)]),
    )
