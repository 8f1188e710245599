"""What the engine returns, with where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Protocol, TypeVar

from NNMambaLib.models.manifest import Label
from NNMambaLib.volumes.volume import Volume

RESEARCH_USE = "Research use only: not for diagnosis or treatment."


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from.

    Attributes:
        model, model_version, weights_sha256, engine_version: what computed it.
        device, scan_backend: where and how, as they were in the end.
        options: as they were asked for, such as mirroring and the tiles' step.
        started: UTC, ISO 8601.
        seconds: by stage, and in all (``total``).
        notices: every way in which the run departed from what was asked for: resampled channels, padding, smaller
            patches to fit the memory. Empty if there was none.
        licence: of the model; empty if it states none.
    """

    model: str
    model_version: str
    weights_sha256: str
    engine_version: str
    device: str
    scan_backend: str
    options: dict[str, Any]
    started: str
    seconds: dict[str, float]
    notices: tuple[str, ...] = ()
    licence: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Result(Protocol):
    """What the results of all tasks have: each is a frozen dataclass whose volumes are fields of it."""

    @property
    def provenance(self) -> Provenance: ...


T = TypeVar("T")


def map_volumes(result: T, function: Callable[[Volume], Volume]) -> T:
    """Return a result with each of its volumes replaced by what a function makes of it."""
    if isinstance(result, Volume):
        return function(result)  # type: ignore[return-value] # a Volume, as T is
    if not is_dataclass(result) or isinstance(result, type):
        return result
    values = {entry.name: getattr(result, entry.name) for entry in fields(result)}
    mapped = {name: map_volumes(value, function) for name, value in values.items()}
    changed = {name: value for name, value in mapped.items() if value is not values[name]}
    return replace(result, **changed) if changed else result


@dataclass(frozen=True)
class SegmentationResult:
    """A segmentation on the input's grid.

    Attributes:
        labels: (1, z, y, x) of uint8 (uint16 above 255 labels); 0 is the background.
        label_definitions: of the values 1, 2, ...
        volumes_ml: by label name, in millilitres.
        probabilities: (label with background, z, y, x) of float16 in 0..1, where asked for.
        uncertainty: (1, z, y, x) of float32, the entropy of the probabilities in units of its largest value: 0
            (certain) .. 1 (all labels alike); where asked for.
    """

    labels: Volume
    label_definitions: tuple[Label, ...]
    volumes_ml: dict[str, float]
    provenance: Provenance
    probabilities: Volume | None = None
    uncertainty: Volume | None = None


@dataclass(frozen=True)
class Landmark:
    """A landmark.

    Attributes:
        position: LPS in mm, or None where it was not found.
        confidence: 0..1, by the model's calibration.
    """

    name: str
    definition: str
    position: tuple[float, float, float] | None
    confidence: float

    @property
    def found(self) -> bool:
        return self.position is not None


@dataclass(frozen=True)
class LandmarksResult:
    """All landmarks of the model, found or not, in the manifest's order."""

    landmarks: tuple[Landmark, ...]
    provenance: Provenance


@dataclass(frozen=True)
class Prediction:
    """The answer to one question: calibrated probabilities of its classes, and the class predicted."""

    target: str
    probabilities: dict[str, float]
    predicted: str


@dataclass(frozen=True)
class Explanation:
    """Which regions speak for the answer to one question.

    Attributes:
        target: the question.
        predicted: the class that is spoken for.
        volume: (1, z, y, x) of float32: by how much the probability of that class falls when a cuboid around the voxel
            is hidden, averaged over such cuboids. Negative where the region speaks against the class; 0 where it does
            not matter, and where the model does not look.
    """

    target: str
    predicted: str
    volume: Volume


@dataclass(frozen=True)
class ClassificationResult:
    """The answers to a classifier's questions, and, where asked for, what speaks for one of them."""

    predictions: tuple[Prediction, ...]
    provenance: Provenance
    research_use: str = field(default=RESEARCH_USE)
    explanation: Explanation | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all but the explanation's volume, as JSON can hold it."""
        return {
            "predictions": [asdict(prediction) for prediction in self.predictions],
            "provenance": self.provenance.as_dict(),
            "research_use": self.research_use,
        }
