"""What a network's weights cannot tell: taken from what was asked for, from a preset, or refused as a question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.presets import PRESETS, Preset
from NNMambaLib.models.label_colors import label_color
from NNMambaLib.models.manifest import (
    Channel,
    HeatmapDecoding,
    InputSpecification,
    Label,
    LandmarkDefinition,
    Normalization,
    Target,
)
from NNMambaLib.networks.description import SIZE_DIVISOR, NetworkDescription
from NNMambaLib.volumes.volume import Shape, Spacing

_USUAL_PATCH = (128, 128, 128)
# Every landmark is reported: the authors' networks were not calibrated to say which are absent.
_UNCALIBRATED = HeatmapDecoding(slope=0.0, intercept=0.0, threshold=0.0)


@dataclass(frozen=True)
class Answers:
    """What whoever imports weights says of them; None for what is left to the preset, or to the weights.

    Attributes:
        names: of the labels (without background), landmarks or classes, in the network's order.
        patch: voxels along (x, y, z).
        spacing: mm along (x, y, z).
        mirrored: whether it was trained with mirrored volumes, so that mirroring may be averaged over.
    """

    task: str | None = None
    preset: str | None = None
    names: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    patch: Shape | None = None
    spacing: Spacing | None = None
    normalization: Normalization | None = None
    mirrored: bool | None = None


@dataclass(frozen=True)
class Pipeline:
    """How a network is to be run: parts of a manifest, and what of it was assumed or told, in sentences."""

    task: str
    input: InputSpecification
    outputs: dict[str, Any]
    assumed: tuple[str, ...]
    told: tuple[str, ...] = field(default=())


def complete(network: NetworkDescription, answers: Answers, source: str) -> Pipeline:
    """Return how a network is to be run.

    Raises:
        ModelError: asking for what neither the weights nor the preset say; or if the answers contradict the weights.
    """
    preset = _preset(network, answers, source)
    assumed, told = list(preset.assumed), []
    if answers.preset:
        told.append(f"the preset {answers.preset}: {preset.summary}")
    _ask(network, answers, preset, source)
    patch = answers.patch or preset.patch
    if not answers.patch and not answers.preset:
        assumed.append(f"tiles of {' x '.join(map(str, patch))} voxels, the paper's")
    normalization = answers.normalization or preset.normalization
    assert normalization is not None, "it was asked for"
    channels = answers.channels or tuple(f"channel {number + 1}" for number in range(network.in_channels))
    mirrored = preset.mirrored if answers.mirrored is None else answers.mirrored
    assumed.append("volumes are taken with their axes as they are stored, as the authors' code does")
    if mirrored and answers.mirrored is None:
        assumed.append("mirroring is allowed along all axes, as nnU-Net trains")
    specification = InputSpecification(
        channels=tuple(Channel(name, normalization) for name in channels),
        patch=patch,
        spacing=answers.spacing or preset.spacing,
        shape=None if answers.spacing else preset.shape,
        orientation=None,
        axes="array",
        anti_aliasing=False,
        mirror_axes=("x", "y", "z") if mirrored and preset.task == "segmentation" else (),
    )
    names = answers.names or preset.names
    outputs = _OUTPUTS[preset.task](network.out_channels, names, preset.question)
    if not names:
        assumed.append("names of what the network finds are not known: they are numbered (--labels FILE names them)")
    if preset.task == "landmarks":
        assumed.append("every landmark counts as found, with a confidence of 0.5 that says nothing")
    return Pipeline(preset.task, specification, outputs, tuple(assumed), tuple(told))


def count_of_names(task: str, outputs: int) -> int:
    """Return how many names the outputs of a network for a task have."""
    if task == "segmentation":
        return outputs - 1
    return 2 if task == "classification" and outputs == 1 else outputs


def _preset(network: NetworkDescription, answers: Answers, source: str) -> Preset:
    """Return the preset that was asked for, or one that says only what the weights do."""
    if answers.preset is None:
        task = answers.task or _told_task(network)
        if task is None:
            raise ModelError(
                f"The weights of {source} are those of {network.variant}, which finds labels as well as landmarks: say "
                "which (--task segmentation, or --task landmarks)."
            )
        preset = Preset("", task, network.in_channels, network.out_channels, _USUAL_PATCH)
    else:
        if answers.preset not in PRESETS:
            raise ModelError(f"There is no preset '{answers.preset}': choose one of {', '.join(PRESETS)}.")
        preset = PRESETS[answers.preset]
        sizes = (network.in_channels, network.out_channels)
        if (answers.task or preset.task) != preset.task or sizes != (preset.inputs, preset.outputs):
            raise ModelError(
                f"The preset {answers.preset} is for {preset.task} with {preset.inputs} channels in and "
                f"{preset.outputs} out, and {source} has {sizes[0]} in and {sizes[1]} out: choose another, or say "
                "what it is with --task, --spacing and --normalization."
            )
    if network.is_classifier != (preset.task == "classification"):
        raise ModelError(
            f"The weights of {source} are those of {network.variant}, which is not for {preset.task}: leave out "
            "--task, or choose another preset."
        )
    return preset


def _told_task(network: NetworkDescription) -> str | None:
    """Return the task that a variant is for, or None where it is for several."""
    if network.is_classifier:
        return "classification"
    return {"SEG-CSS": None, "SEG-CSS-FULL": None, "V1-LAND": "landmarks"}.get(network.variant, "segmentation")


def _ask(network: NetworkDescription, answers: Answers, preset: Preset, source: str) -> None:
    missing = {}
    if answers.spacing is None and preset.spacing is None and preset.shape is None:
        missing["the spacing that it works at"] = "--spacing X Y Z"
    if answers.normalization is None and preset.normalization is None:
        missing["how its intensities are scaled"] = "--normalization KIND, or --ct LOW HIGH MEAN SD"
    if answers.patch is None and answers.preset is None and network.is_classifier:
        missing["the size of its volumes"] = "--patch X Y Z"
    if missing:
        presets = [name for name, entry in PRESETS.items() if _fits(network, entry)]
        choice = f"; or take a preset (--preset {', '.join(presets)})" if presets and not answers.preset else ""
        raise ModelError(
            f"The weights of {source} do not say {', '.join(missing)}: give {', '.join(missing.values())}{choice}."
        )
    if answers.patch is not None and not network.is_classifier and any(n % SIZE_DIVISOR for n in answers.patch):
        raise ModelError(f"--patch is {answers.patch} and must be three multiples of {SIZE_DIVISOR} for {source}.")
    for names, count, what, option in (
        (answers.channels, network.in_channels, "channels", "--channels"),
        (answers.names, count_of_names(preset.task, network.out_channels), "labels, landmarks or classes", "--labels"),
    ):
        if names is not None and len(names) != count:
            raise ModelError(
                f"{source} has {count} {what} and {len(names)} are named: name as many with {option} (the background "
                "has no name)."
            )


def _fits(network: NetworkDescription, preset: Preset) -> bool:
    return (
        network.is_classifier == (preset.task == "classification")
        and (network.in_channels, network.out_channels) == (preset.inputs, preset.outputs)
        and preset.normalization is not None
    )


def _labels(outputs: int, names: tuple[str, ...], question: str) -> dict[str, Any]:
    names = names or tuple(f"label {value}" for value in range(1, outputs))
    return {"labels": tuple(Label(n, name, label_color(n, outputs)) for n, name in enumerate(names, start=1))}


def _landmarks(outputs: int, names: tuple[str, ...], question: str) -> dict[str, Any]:
    names = names or tuple(f"landmark {number + 1}" for number in range(outputs))
    definitions = tuple(LandmarkDefinition(name, "as its authors marked it") for name in names)
    return {"landmarks": definitions, "heatmap": _UNCALIBRATED}


def _targets(outputs: int, names: tuple[str, ...], question: str) -> dict[str, Any]:
    names = names or tuple(f"class {number}" for number in range(max(2, outputs)))
    return {"targets": (Target(question or "class", names, binary=outputs == 1),)}


_OUTPUTS = {"segmentation": _labels, "landmarks": _landmarks, "classification": _targets}
