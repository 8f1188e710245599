"""Result folders of nnU-Net: which weights and which pipeline they hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.plan_values import refused_step
from NNMambaLib.models.label_colors import label_color
from NNMambaLib.models.manifest import Channel, InputSpecification, Label, Normalization
from NNMambaLib.networks.description import SIZE_DIVISOR

_AXES = "zyx"


@dataclass(frozen=True)
class ResultFolder:
    """What a result folder says of a model.

    Attributes:
        weights: the checkpoints, one of each fold.
        input: how the model takes volumes.
        labels: what its outputs are, without the background.
        found: what was found, in sentences.
        assumed: what the folder does not say.
    """

    weights: tuple[Path, ...]
    input: InputSpecification
    labels: tuple[Label, ...]
    found: tuple[str, ...]
    assumed: tuple[str, ...] = ()


def checkpoints(folder: Path, names: tuple[str, ...], fold: str | None) -> dict[str, Path]:
    """Return the checkpoints of a result folder by their folds.

    Args:
        names: of a checkpoint, the preferred one first.
        fold: a number or "all", for that alone.

    Raises:
        ModelError: if there are none.
    """
    found = {}
    for number in (fold,) if fold is not None else (*"0123456789", "all"):
        below = folder / ("all" if number == "all" and names[0].endswith(".model") else f"fold_{number}")
        for name in names:
            if (below / name).is_file() and number is not None:
                found.setdefault(number, below / name)
    if not found:
        which = f"of fold {fold}" if fold is not None else f"such as fold_0/{names[0]}"
        raise ModelError(f"{folder} holds no checkpoint {which}: give nnU-Net's result folder as it wrote it.")
    if len(found) > 1:
        # A model trained on all cases stands for itself.
        found.pop("all", None)
    return found


def specification(
    source: str,
    channels: list[tuple[str, Normalization]],
    patch: tuple[float, ...],
    spacing: tuple[float, ...],
    transpose: tuple[int, int, int],
    mirror_axes: tuple[int, ...],
    planes: str,
    version: int,
) -> InputSpecification:
    """Return how a model of nnU-Net takes volumes; patch and spacing are along the network's (z, y, x)."""
    if any(size % SIZE_DIVISOR or size < SIZE_DIVISOR for size in patch):
        raise refused_step(
            source, f"a patch of {'x'.join(f'{size:g}' for size in patch)}, no multiples of {SIZE_DIVISOR}"
        )
    z, y, x = (int(size) for size in patch)
    counts = Counter(name for name, _ in channels)
    channels = [(f"{name} {n + 1}" if counts[name] > 1 else name, how) for n, (name, how) in enumerate(channels)]
    return InputSpecification(
        channels=tuple(Channel(name, how) for name, how in channels),
        patch=(x, y, z),
        spacing=(spacing[2], spacing[1], spacing[0]),
        orientation=None,
        axes="array",
        interpolation="cubic",
        anti_aliasing=False,
        mirror_axes=tuple(_AXES[axis] for axis in mirror_axes),
        axis_order=() if transpose == (0, 1, 2) else tuple(_AXES[axis] for axis in reversed(transpose)),
        crop="nonzero",
        planes=planes,
        normalize="after" if version == 1 else "before",
        window="nnunet",
    )


def labels_of(names: list[str]) -> tuple[Label, ...]:
    """Return labels 1, 2, ... with these names."""
    return tuple(Label(n, name, label_color(n, len(names) + 1)) for n, name in enumerate(names, start=1))
