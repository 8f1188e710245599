"""Training a classifier on volumes with a table of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from NNMambaLib.inference.answers import predict_target
from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.inference.finite import check_finite
from NNMambaLib.models.manifest import Target
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.calibration import fit_temperature
from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.training.data.augmentation import augmentation_of
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.classes_folder import UNKNOWN, read_classes_folder
from NNMambaLib.training.data.coverage import Shown
from NNMambaLib.training.data.prepared import PreparedCase, Reference
from NNMambaLib.training.data.samplers import CLASSES, ClassificationSampler
from NNMambaLib.training.data.sources import ReferenceSource
from NNMambaLib.training.objectives.classification import ClassificationObjective
from NNMambaLib.training.validation_picture import draw_classes
from NNMambaLib.volumes.volume import Grid, Shape, Volume

# A temperature fitted to fewer cases would say more of them than of the network.
_FEWEST_TO_CALIBRATE = 20

Score = tuple[np.ndarray, np.ndarray]


class ClassificationTask:
    """See `Task`. A prediction is the logits, target after target; its score is the logits with the true classes."""

    name = "classification"

    def __init__(self, folder: Path):
        content = read_classes_folder(folder)
        self.cases = content.cases
        self._targets = tuple(Target(name, classes) for name, classes in content.targets.items())

    def channel_names(self, count: int) -> tuple[str, ...]:
        return tuple(f"channel {number}" for number in range(1, count + 1))

    def names(self) -> dict[str, tuple[str, ...]]:
        return {_kind(target): target.classes for target in self._targets}

    def source(self, case: Case) -> ReferenceSource:
        return ReferenceSource(content=case.reference)

    def check(self, case: Case, volume: Volume) -> Shown:
        """Return the case's classes: the table was checked when it was read."""
        known = zip(self._targets, case.reference, strict=True)
        return Shown(tuple((_kind(target), target.classes[index]) for target, index in known if index != UNKNOWN))

    def reference(self, case: Case, grid: Grid) -> Reference:
        return {CLASSES: np.array(case.reference, np.int64)}

    def objective(self, configuration: ResolvedConfiguration, channels: int) -> ClassificationObjective:
        counts = tuple(target.logits for target in self._targets)
        network = NetworkDescription(configuration.variant, channels, sum(counts), configuration.base_width)
        return ClassificationObjective(network, counts)

    def sampler(self, configuration: ResolvedConfiguration) -> ClassificationSampler:
        return ClassificationSampler(configuration.patch_zyx, augmentation_of(configuration))

    def predict(self, network: nn.Module, device: torch.device, case: PreparedCase, patch: Shape) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(fit_to_patch(case.array, patch))[None]
            logits = network(x.to(device))[0].float().cpu()
        check_finite(logits)
        return logits.numpy()

    def score(self, case: PreparedCase, prediction: np.ndarray) -> Score:
        return prediction, np.array(case.reference[CLASSES])

    def metrics(self, scores: Sequence[Score]) -> dict[str, float]:
        """Return accuracy and mean log loss over the targets that are known, and each target's accuracy."""
        metrics, hits, losses = {}, [], []
        for number, target in enumerate(self._targets):
            right = []
            for logits, truth in self._known(scores, number):
                answer = predict_target(target, logits)
                name = target.classes[truth]
                right.append(answer.predicted == name)
                losses.append(-np.log(max(answer.probabilities[name], 1e-12)))
            if right and len(self._targets) > 1:
                metrics[f"accuracy {target.name}"] = float(np.mean(right))
            hits += right
        return {"accuracy": float(np.mean(hits)), "log loss": float(np.mean(losses)), **metrics} if hits else {}

    def sections(self, scores: Sequence[Score]) -> dict[str, Any]:
        targets = []
        for number, target in enumerate(self._targets):
            known = self._known(scores, number)
            temperature = 1.0
            if len(known) >= _FEWEST_TO_CALIBRATE:
                logits, truths = (np.array(column) for column in zip(*known, strict=True))
                temperature = fit_temperature(logits, truths)
            targets.append(Target(target.name, target.classes, temperature=temperature))
        return {"targets": tuple(targets)}

    def picture(self, case: PreparedCase, prediction: np.ndarray, path: Path) -> None:
        lines, first = [], 0
        for target, truth in zip(self._targets, case.reference[CLASSES], strict=True):
            answer = predict_target(target, prediction[first : first + target.logits])
            first += target.logits
            known = "unknown" if truth == UNKNOWN else target.classes[truth]
            p = answer.probabilities[answer.predicted]
            lines.append(f"{target.name}: reference {known}, prediction {answer.predicted} ({p:.2f})")
        draw_classes(case, lines, path)

    def _known(self, scores: Sequence[Score], number: int) -> list[tuple[np.ndarray, int]]:
        """Return a target's logits and class in the cases where the class is known."""
        first = sum(target.logits for target in self._targets[:number])
        part = slice(first, first + self._targets[number].logits)
        return [(logits[part], int(truth[number])) for logits, truth in scores if truth[number] != UNKNOWN]


def _kind(target: Target) -> str:
    return f"classes in the column {target.name}"
