"""The interface of a task to the training of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from NNMambaLib.training.configuration import ResolvedConfiguration
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.coverage import Shown
from NNMambaLib.training.data.prepared import PreparedCase, Reference
from NNMambaLib.training.data.samples import Sampler
from NNMambaLib.training.data.sources import ReferenceSource
from NNMambaLib.training.objectives.objective import Objective
from NNMambaLib.volumes.volume import Grid, Shape, Volume


class Task(Protocol):
    """A task, with the cases of one folder.

    Attributes:
        name: ``segmentation``, ``landmarks`` or ``classification``.
    """

    name: str
    cases: tuple[Case, ...]

    def channel_names(self, count: int) -> tuple[str, ...]:
        """Return the names of the volumes' channels."""
        ...

    def names(self) -> Mapping[str, tuple[str, ...]]:
        """Return the names of what is learnt by kind, such as the labels, in the order of the network's outputs."""
        ...

    def source(self, case: Case) -> ReferenceSource:
        """Return where a case's reference comes from."""
        ...

    def check(self, case: Case, volume: Volume) -> Shown:
        """Raise VolumeError if a reference does not fit its volume; return which of `names` the case shows."""
        ...

    def reference(self, case: Case, grid: Grid) -> Reference:
        """Return what is to be learnt from a case, on the model's grid."""
        ...

    def objective(self, configuration: ResolvedConfiguration, channels: int) -> Objective:
        """Return the objective that the network is trained for."""
        ...

    def sampler(self, configuration: ResolvedConfiguration) -> Sampler:
        """Return the sampler, which makes a training sample from a prepared case."""
        ...

    def predict(self, network: nn.Module, device: torch.device, case: PreparedCase, patch: Shape) -> Any:
        """Return what the network finds in a case, tile by tile of size `patch` (z, y, x), in the task's own form."""
        ...

    def score(self, case: PreparedCase, prediction: Any) -> Any:
        """Return what `metrics` and `sections` need of a prediction; keep it small, as it is kept for every case."""
        ...

    def metrics(self, scores: Sequence[Any]) -> dict[str, float]:
        """Return the metrics by name, the most telling first, without those that are undefined."""
        ...

    def sections(self, scores: Sequence[Any]) -> dict[str, Any]:
        """Return the task's sections of the manifest, calibrated on the scores of the validation."""
        ...

    def picture(self, case: PreparedCase, prediction: Any, path: Path) -> None:
        """Write a PNG of a case with its reference and the prediction."""
        ...
