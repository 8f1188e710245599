"""The configuration of ``nnmamba train``, in one JSON or TOML file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from NNMambaLib.errors import TrainingError
from NNMambaLib.file_names import check_name
from NNMambaLib.models import limits
from NNMambaLib.networks.description import SIZE_DIVISOR
from NNMambaLib.networks.variants import VARIANTS
from NNMambaLib.plain_files import read_text
from NNMambaLib.strict_json import MAX_DEPTH, parse_json
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.volumes.volume import Shape, Spacing


@dataclass(frozen=True)
class CommonConfiguration(TrainingSettings):
    """What a configuration says whatever the data are.

    Attributes:
        base_width: channels after the stem.
        deep_supervision: of a segmentation, see `SegmentationObjective`.
        normalization: of intensities: ``z-score``, ``percentile`` (0.5 and 99.5), ``ct``, ``none``, or ``auto``: by
            the channel's name in ``dataset.json`` where there is one, else ``z-score``.
        mirror_axes: axes along which samples are mirrored; leave out ``x`` where left and right are told apart.
        augment: deform samples and change their intensities at random.
        foreground: fraction of the samples that contain a given label or landmark; the others lie anywhere.
        heatmap_sigma: of the Gaussian about a landmark, in voxels.
        validation_fraction: fraction of the subjects that is kept for validation; 0 for none.
    """

    base_width: int = 32
    deep_supervision: bool = True
    normalization: str = "auto"
    mirror_axes: tuple[str, ...] = ()
    augment: bool = True
    foreground: float = 0.33
    heatmap_sigma: float = 3.0
    validation_fraction: float = 0.2


@dataclass(frozen=True)
class Configuration(CommonConfiguration):
    """What the user asks for. Sizes and spacings are along (x, y, z), as in manifests.

    Attributes:
        variant: of the network; None takes the published one for the task, and CLS-MAX, ours, for classification.
        patch: voxels that the network sees at a time, each divisible by 16; None takes the median volume's, at most
            128, and for classification the largest volume's, at most 192.
        spacing: mm that volumes are resampled to; None takes the median of the data.
    """

    variant: str | None = None
    patch: Shape | None = None
    spacing: Spacing | None = None


@dataclass(frozen=True, kw_only=True)
class ResolvedConfiguration(CommonConfiguration):
    """A `Configuration` in which nothing is left to the data: what `resolve` returns."""

    variant: str
    patch: Shape
    spacing: Spacing

    @property
    def patch_zyx(self) -> Shape:
        """Voxels along (z, y, x), as arrays have them."""
        x, y, z = self.patch
        return z, y, x

    @property
    def spacing_zyx(self) -> Spacing:
        """mm along (z, y, x), as arrays have them."""
        x, y, z = self.spacing
        return z, y, x


def read_configuration(path: str | Path | None, changes: Sequence[str] = ()) -> Configuration:
    """Return the configuration in a file, with defaults for what it leaves out; all defaults where `path` is None.

    Args:
        changes: texts ``key=value``, which take the place of what the file says; values as in TOML, names without
            quotes, too.

    Raises:
        TrainingError: if the file cannot be read, it or a change has an unknown key, or a value that is not allowed.
    """
    content = {}
    if path is not None:
        check_name(path, TrainingError)
        content = _content(Path(path))
        if not changes:
            return make_configuration(content, str(path))
    changed = dict(_change(text) for text in changes)
    return make_configuration({**_current(content), **_current(changed)}, f"{path} with --set" if path else "--set")


def make_configuration(content: dict[str, Any], source: str = "The configuration") -> Configuration:
    """Return the configuration with these values.

    Raises:
        TrainingError: naming the source and the key that is unknown or has a value that is not allowed.
    """
    known = [entry.name for entry in fields(Configuration)]
    content = _current(content)
    for key, value in content.items():
        if key not in known:
            raise TrainingError(f"{source} has the unknown key '{key}': choose one of {', '.join(known)}.")
        rule = _RULES[key]
        if not rule.holds(value):
            raise TrainingError(f"{source} has {key} {_shown(value)}, but it must be {rule.words}.")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    configuration = Configuration(**values)
    if configuration.validate_every % configuration.checkpoint_every:
        raise TrainingError(
            f"{source} has validate_every {configuration.validate_every}, but it must be a multiple of "
            f"checkpoint_every, {configuration.checkpoint_every}."
        )
    return configuration


def as_json(configuration: CommonConfiguration) -> dict[str, Any]:
    """Return the configuration as a JSON object, from which `make_configuration` makes the same one."""
    return json.loads(json.dumps(asdict(configuration)))


def _change(text: str) -> tuple[str, Any]:
    """Return the key and the value of a text ``key=value``."""
    key, sign, value = (part.strip() for part in text.partition("="))
    if not key or not sign or not value:
        raise TrainingError(f"--set {text!a} is no setting: write key=value, such as --set steps=1000.")
    try:
        # In a line of its own, so that no second key can follow.
        return key, _toml(f"value = {value}")["value"] if "\n" not in value else value
    except ValueError:
        return key, value


def _current(content: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the keys as they are spelled now."""
    return {_FORMER_KEYS.get(key, key): value for key, value in content.items()}


def _content(path: Path) -> dict[str, Any]:
    if path.suffix.lower() in (".yaml", ".yml"):
        raise TrainingError(
            f"{path} is YAML, which is not read: write the settings as TOML (.toml), such as steps = 1000, or as JSON."
        )
    text = read_text(path, limits.MAX_SETTINGS_BYTES, TrainingError)
    try:
        content = _toml(text) if path.suffix == ".toml" else parse_json(text)
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise TrainingError(f"{path} is not valid {kind} ({error}): correct it.") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{path} holds no settings by name: write one JSON object.")
    return content


def _toml(text: str) -> dict[str, Any]:
    # Python's reader takes time with the square of the parts of a dotted name, and memory, too.
    if any(line.partition("#")[0].count(".") > MAX_DEPTH for line in text.splitlines()):
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None


@dataclass(frozen=True)
class _Rule:
    holds: Callable[[Any], bool]
    words: str


def _whole(least: int, most: int) -> _Rule:
    words = f"a whole number of at least {least}, at most {most:,}"
    return _Rule(lambda value: _is_whole(value) and least <= value <= most, words)


def _number(words: str, holds: Callable[[float], bool]) -> _Rule:
    return _Rule(lambda value: _is_number(value) and holds(value), words)


def _one_of(*names: str) -> _Rule:
    return _Rule(lambda value: value in names, f"one of {', '.join(names)}")


def _three(holds: Callable[[Any], bool], words: str) -> _Rule:
    return _Rule(
        lambda value: (
            value is None or (isinstance(value, (list, tuple)) and len(value) == 3 and all(map(holds, value)))
        ),
        words,
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # Whole numbers of TOML have any size; those that float64 cannot hold are no use as numbers.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER


def _shown(value: Any) -> str:
    """Return a value as JSON has it, cut short where it is long."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, TypeError, RecursionError):
        # Too many digits, keys that are not texts, or deeper than Python can follow.
        return "of another form"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


# Keys as version 0.1 spelled them.
_FORMER_KEYS = {"normalisation": "normalization"}
_MAX_NUMBER, _LONGEST_SHOWN = 1e6, 80
_POSITIVE = _number("a number above 0, at most 1e6", lambda value: value > 0)
_NOT_NEGATIVE = _number("a number of at least 0, at most 1e6", lambda value: value >= 0)
_BELOW_ONE = _number("a number of at least 0 and below 1", lambda value: 0 <= value < 1)
_SWITCH = _Rule(lambda value: isinstance(value, bool), "true or false")
_RULES = {
    "steps": _whole(1, limits.MAX_STEPS),
    "batch_size": _whole(1, limits.MAX_BATCH),
    "optimizer": _one_of("adamw", "sgd"),
    "learning_rate": _POSITIVE,
    "schedule": _one_of("cosine", "poly"),
    "warm_up_steps": _whole(0, limits.MAX_STEPS),
    "weight_decay": _NOT_NEGATIVE,
    "clip_norm": _POSITIVE,
    "average_decay": _BELOW_ONE,
    "precision": _one_of("float32", "bfloat16", "float16"),
    "seed": _Rule(lambda value: _is_whole(value) and 0 <= value < 2**63, "a whole number of at least 0, below 2^63"),
    "workers": _whole(0, limits.MAX_WORKERS),
    "checkpoint_every": _whole(1, limits.MAX_STEPS),
    "validate_every": _whole(1, limits.MAX_STEPS),
    "variant": _Rule(
        lambda value: value is None or (isinstance(value, str) and value in VARIANTS), f"one of {', '.join(VARIANTS)}"
    ),
    "base_width": _whole(1, limits.MAX_BASE_WIDTH),
    "deep_supervision": _SWITCH,
    "patch": _three(
        lambda size: _is_whole(size) and 0 < size <= limits.MAX_SIZE and size % SIZE_DIVISOR == 0,
        f"three multiples of {SIZE_DIVISOR}, at most {limits.MAX_SIZE}",
    ),
    "spacing": _three(
        lambda step: _is_number(step) and limits.MIN_SPACING <= step <= limits.MAX_SPACING,
        f"three lengths of {limits.MIN_SPACING:g} to {limits.MAX_SPACING:g} mm",
    ),
    "normalization": _one_of("auto", "z-score", "percentile", "ct", "none"),
    "mirror_axes": _Rule(
        lambda value: (
            isinstance(value, (list, tuple))
            and all(axis in ("x", "y", "z") for axis in value)
            and len(set(value)) == len(value)
        ),
        "a list of x, y, z, each at most once",
    ),
    "augment": _SWITCH,
    "foreground": _number("a number of 0 to 1", lambda value: 0 <= value <= 1),
    "heatmap_sigma": _POSITIVE,
    "validation_fraction": _BELOW_ONE,
}
