"""What the training of a folder asks of a task."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.prepared import PreparedCase, Reference
from NNMambaLib.training.data.samples import Sampler
from NNMambaLib.training.objectives.objective import Objective
from NNMambaLib.volumes.volume import Grid, Shape, Volume


class Task(Protocol):
    """A task with the cases of one folder.

    Attributes:
        name: ``segmentation``, ``landmarks`` or ``classification``.
    """

    name: str
    cases: tuple[Case, ...]

    def channel_names(self, count: int) -> tuple[str, ...]:
        """Return the names of the volumes' channels."""
        ...

    def needed(self) -> Mapping[str, Iterable[Hashable]]:
        """Return what each case shows that training must not be without, see `split_by_subject`."""
        ...

    def check(self, case: Case, volume: Volume) -> np.ndarray | None:
        """Refuse a reference that does not fit its volume; see `survey_cases`."""
        ...

    def reference(self, case: Case, grid: Grid) -> Reference:
        """Return what is to be learnt of a case, on the model's grid."""
        ...

    def objective(self, configuration: ResolvedConfiguration, channels: int) -> Objective:
        """Return what the network is trained for."""
        ...

    def sampler(self, configuration: ResolvedConfiguration) -> Sampler:
        """Return how a sample is made of a prepared case."""
        ...

    def predict(self, network: nn.Module, device: torch.device, case: PreparedCase, patch: Shape) -> Any:
        """Return what the network finds in a case, tile by tile of `patch` (z, y, x), in a form of the task's own."""
        ...

    def score(self, case: PreparedCase, prediction: Any) -> Any:
        """Return what `metrics` and `sections` need of a prediction: little, since all cases' are kept."""
        ...

    def metrics(self, scores: Sequence[Any]) -> dict[str, float]:
        """Return how good predictions are, by name, the most telling first; without those that do not exist."""
        ...

    def sections(self, scores: Sequence[Any]) -> dict[str, Any]:
        """Return the task's sections of the manifest, calibrated on the validation's scores."""
        ...

    def picture(self, case: PreparedCase, prediction: Any, path: Path) -> None:
        """Write a PNG of a case with its reference and the prediction."""
        ...
