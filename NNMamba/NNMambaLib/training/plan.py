"""The plan of a training: what the network is given, decided by the data and the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from NNMambaLib.errors import TrainingError
from NNMambaLib.inference.preprocessing import place
from NNMambaLib.inference.tasks import task_named
from NNMambaLib.models.manifest import Channel, InputSpecification, Normalization
from NNMambaLib.networks.description import SIZE_DIVISOR, NetworkDescription
from NNMambaLib.networks.variants import TRAINED_CLASSIFIER, variant_for
from NNMambaLib.runtime.memory import FreeMemory
from NNMambaLib.training.configuration import Configuration, ResolvedConfiguration
from NNMambaLib.training.data.subjects import Split
from NNMambaLib.training.data.survey import Survey
from NNMambaLib.training.fingerprint import Fingerprint
from NNMambaLib.volumes.volume import Shape, Spacing, reoriented_grid

ORIENTATION = "RAS"
_LARGEST_PATCH, _LARGEST_CLASSIFIED = 128, 192
# Names of channels that nnU-Net normalizes in ways of their own.
_BY_NAME = {"ct": "ct", "nonorm": "none", "rescale_to_0_1": "range"}


@dataclass(frozen=True)
class Requirements:
    """What a training takes.

    Attributes:
        device: that will train.
        parameters: numbers of the network that training ends with.
        step_bytes: that a step holds at the least, see `memory.step_bytes`.
        free: what can be used of the device's memory.
    """

    device: str
    parameters: int
    step_bytes: int
    free: FreeMemory


@dataclass(frozen=True)
class Plan:
    """What a training will do, as the data and the configuration decide it.

    Attributes:
        specification: of the network's input.
        split: into training and validation.
        fingerprint: of the cases.
        warnings: sentences, without their full stop, on what the user should know before hours are spent.
    """

    task: str
    network: NetworkDescription

    configuration: ResolvedConfiguration
    specification: InputSpecification
    split: Split
    fingerprint: Fingerprint
    requirements: Requirements
    warnings: tuple[str, ...]


def resolve(configuration: Configuration, task: str, survey: Survey) -> ResolvedConfiguration:
    """Return the configuration with variant, spacing and patch taken from the task and the data where they are None.

    Raises:
        ModelError: if the variant is not for the task.
        TrainingError: if BatchNorm would see a single value per channel.
    """
    whole_volume = task_named(task).whole_volume
    ours = TRAINED_CLASSIFIER if whole_volume else None
    variant = variant_for(whole_volume, configuration.variant or ours)
    spacing = configuration.spacing or _median_spacing(survey)
    patch = configuration.patch or _patch_for(survey, spacing, whole_volume)
    if configuration.batch_size == 1 and max(patch) == SIZE_DIVISOR:
        raise TrainingError(
            f"A batch_size of 1 with the patch {patch} cannot be normalized: take 2, or a larger patch."
        )
    return ResolvedConfiguration(**{**asdict(configuration), "variant": variant, "spacing": spacing, "patch": patch})


def input_specification(
    configuration: ResolvedConfiguration, channels: Sequence[str], survey: Survey
) -> InputSpecification:
    """Return the manifest's description of the input.

    Args:
        channels: their names.
    """
    return InputSpecification(
        channels=tuple(
            Channel(name, _normalization(configuration.normalization, name, intensities))
            for name, intensities in zip(channels, survey.intensities, strict=True)
        ),
        patch=configuration.patch,
        spacing=configuration.spacing,
        orientation=ORIENTATION,
        mirror_axes=configuration.mirror_axes,
    )


def _median_spacing(survey: Survey) -> Spacing:
    steps = [reoriented_grid(grid, ORIENTATION).spacing for grid in survey.grids]
    x, y, z = (round(float(step), 4) for step in np.median(steps, axis=0))
    return x, y, z


def _patch_for(survey: Survey, spacing: Spacing, whole: bool) -> Shape:
    """Return the patch (x, y, z) that holds a volume of median size, or every volume whole, up to a limit."""
    frame = InputSpecification((), (0, 0, 0), spacing=spacing, orientation=ORIENTATION)
    sizes = np.array([place(grid, frame).grid.shape[::-1] for grid in survey.grids])
    limit = _LARGEST_CLASSIFIED if whole else _LARGEST_PATCH
    x, y, z = (
        int(min(limit, SIZE_DIVISOR * np.ceil(size / SIZE_DIVISOR)))
        for size in (sizes.max(0) if whole else np.median(sizes, axis=0))
    )
    return x, y, z


def _normalization(kind: str, name: str, intensities: np.ndarray) -> Normalization:
    if kind == "auto":
        kind = _BY_NAME.get(name.lower(), "z-score")
    if kind == "ct":
        low, high = (float(value) for value in np.percentile(intensities, (0.5, 99.5)))
        kept = np.clip(intensities, low, high)
        # Percentiles that coincide leave nothing to scale.
        high = high if high > low else low + 1.0
        mean, sd = float(kept.mean(dtype=np.float64)), float(kept.std(dtype=np.float64))
        return Normalization("ct", low=low, high=high, mean=mean, sd=max(sd, 1e-6))
    if kind == "percentile":
        return Normalization("percentile", mask="all", low=0.5, high=99.5)
    if kind == "range":
        return Normalization("percentile", mask="all", low=0.0, high=100.0)
    return Normalization(kind, mask="all")
