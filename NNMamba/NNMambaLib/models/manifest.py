"""The manifest of a model package (``model.json``), as typed values.

Lengths and orders are those of the file: sizes and spacings along (x, y, z), in voxels and mm. Orientation letters name
the direction of rising index, so ``RAS`` has x to the patient's right.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from NNMambaLib.errors import ModelError
from NNMambaLib.networks.description import SIZE_DIVISOR, NetworkDescription
from NNMambaLib.strict_json import parse_json
from NNMambaLib.volumes.volume import Shape, Spacing

SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")

# Names of devices on Windows, which no file or folder there can have, whatever its ending.
DEVICE_NAMES = frozenset(("con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))))
_LONGEST_COMPLAINT = 300


@dataclass(frozen=True)
class Code:
    """A coded concept as in DICOM, such as ``SCT``, ``389080008``, ``Gray matter``."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Terminology:
    """What a label is: category and type in Slicer's "Segmentation category and type", a modifier such as left."""

    category: Code
    type: Code
    modifier: Code | None = None


@dataclass(frozen=True)
class Label:
    """A label: value in the label volume (the network's output channel), name and colour (red, green, blue, 0..255)."""

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: Terminology | None = None


@dataclass(frozen=True)
class LandmarkDefinition:
    """A landmark's name and anatomical definition; landmarks are in the order of the network's output channels."""

    name: str
    definition: str


@dataclass(frozen=True)
class HeatmapDecoding:
    """How a heatmap's peak p becomes a confidence, 1 / (1 + exp(-(slope p + intercept))).

    A landmark whose confidence is below `threshold` is not found.
    """

    slope: float
    intercept: float
    threshold: float = 0.5

    def confidence(self, peak: float) -> float:
        """Return the confidence, 0..1, of a landmark whose heatmap peaks at this height."""
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, self.slope * peak + self.intercept))))


@dataclass(frozen=True)
class Target:
    """One question that a classifier answers.

    Attributes:
        classes: their names.
        binary: whether two classes share one logit, that of the second.
        temperature: the logits are divided by it (calibration).
        threshold: where `binary`, the second class is predicted from this probability on.
    """

    name: str
    classes: tuple[str, ...]
    binary: bool = False
    temperature: float = 1.0
    threshold: float = 0.5

    @property
    def logits(self) -> int:
        return 1 if self.binary else len(self.classes)


@dataclass(frozen=True)
class Normalization:
    """How the voxels of a channel are scaled, after resampling.

    Attributes:
        kind: ``none``; ``ct`` (clip to [`low`, `high`], subtract `mean`, divide by `sd`); ``z-score``;
            ``percentile`` (clip to the percentiles `low` and `high`, map these to 0..1); ``clip-sd`` (clip to the
            volume's mean +- `sds` standard deviations, map these to 0..255).
        mask: voxels that statistics are computed over: ``all``, ``nonzero``, ``positive``, ``above-mean``; or
            ``foreground``: those that are not zero in every channel, with the holes among them, outside of which all
            voxels become 0.
    """

    kind: str
    mask: str = "all"
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    sd: float | None = None
    sds: float | None = None


@dataclass(frozen=True)
class Channel:
    """An input channel, with words by which its file or node may be recognised."""

    name: str
    normalization: Normalization
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputSpecification:
    """How a volume is prepared for the network.

    Attributes:
        channels: in the network's order.
        patch: voxels along (x, y, z); of an encoder-decoder each divisible by 16.
        spacing: mm along (x, y, z); None where `shape` is given.
        shape: voxels along (x, y, z) to which the whole volume is resampled; None where `spacing` is given.
        orientation: of the array, such as ``RAS``; None with the axes ``array``.
        axes: ``anatomical`` (oblique volumes are resampled along the anatomical axes), ``acquisition`` (axes are only
            permuted and flipped) or ``array`` (axes stay as the voxels are stored, for models that are to tell a
            volume's orientation; `spacing` and `shape` are along these axes).
        interpolation: ``linear`` or ``bspline``, about the grid's center; or ``cubic``: a spline along the volume's own
            axes whose outer faces stay in place, as in nnU-Net.
        anti_aliasing: smooth before making an axis coarser.
        mirror_axes: axes that test-time mirroring may flip; the model must not tell the two directions apart.
        axis_order: with the axes ``array``, the stored axes that the network has as x, y and z; empty for x, y, z.
        crop: ``none``, or ``nonzero``: to the box of voxels that are not zero in every channel; what lies outside is
            background.
        planes: with ``cubic``, whether planes across the coarsest axis are resampled by themselves, and the nearest of
            them taken: ``never``, ``always``, or ``anisotropic``: where its spacing, the volume's or the model's, is
            more than three times the finest.
        normalize: ``after`` or ``before`` resampling.
        window: of the tiles' weights: ``symmetric``, or ``nnunet``: with the Gaussian's center on voxel patch / 2.
        averages: what is averaged over tiles and mirrored copies: ``probabilities``, or ``logits``.
    """

    channels: tuple[Channel, ...]
    patch: Shape
    spacing: Spacing | None = None
    shape: Shape | None = None
    orientation: str | None = "RAS"
    axes: str = "anatomical"
    interpolation: str = "linear"
    anti_aliasing: bool = True
    mirror_axes: tuple[str, ...] = ()
    axis_order: tuple[str, ...] = ()
    crop: str = "none"
    planes: str = "never"
    normalize: str = "after"
    window: str = "symmetric"
    averages: str = "probabilities"


@dataclass(frozen=True)
class Metric:
    """A measured value, the data it was measured on and the command that prints it."""

    name: str
    value: float
    data: str
    command: str


@dataclass(frozen=True)
class Manifest:
    """A model package's manifest.

    What the network's outputs are stands in `labels`, `landmarks` with `heatmap`, or `targets`, by task; for tasks that
    have no such section, in `outputs`, an object for each output with its ``name`` and what the task needs to know.
    """

    name: str
    version: str
    title: str
    description: str
    task: str
    network: NetworkDescription
    input: InputSpecification
    licence: str
    intended_use: str
    labels: tuple[Label, ...] = ()
    landmarks: tuple[LandmarkDefinition, ...] = ()
    heatmap: HeatmapDecoding | None = None
    targets: tuple[Target, ...] = ()
    outputs: tuple[dict[str, Any], ...] = ()
    metrics: tuple[Metric, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)


def parse_manifest(text: str, source: str = "model.json") -> tuple[Manifest, str]:
    """Return the manifest in a text and the SHA-256 of the weights that it belongs to.

    Raises:
        ModelError: if the text is not JSON, breaks the schema, or contradicts itself.
    """
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ModelError(f"{source} is not valid JSON ({error}): restore the original file.") from error
    _check_schema(content, source)
    content.pop("schema_version")
    weights = content.pop("weights")
    manifest = Manifest(
        **{
            **content,
            "network": NetworkDescription(**content["network"]),
            "input": _input(content["input"]),
            "labels": tuple(label_from_dict(entry) for entry in content.get("labels", ())),
            "landmarks": tuple(LandmarkDefinition(**entry) for entry in content.get("landmarks", ())),
            "heatmap": HeatmapDecoding(**content["heatmap"]) if "heatmap" in content else None,
            "targets": tuple(
                Target(**{**entry, "classes": tuple(entry["classes"])}) for entry in content.get("targets", ())
            ),
            "outputs": tuple(content.get("outputs", ())),
            "metrics": tuple(Metric(**entry) for entry in content.get("metrics", ())),
        }
    )
    check_consistency(manifest, source)
    return manifest, weights["sha256"]


def format_manifest(manifest: Manifest, weights_sha256: str) -> str:
    """Return the text of ``model.json``.

    Raises:
        ModelError: if the manifest breaks the schema or contradicts itself.
    """
    content = {
        "schema_version": 1,
        **_without_empty(asdict(manifest)),
        "weights": {"file": "weights.safetensors", "sha256": weights_sha256},
    }
    for channel in content["input"]["channels"]:
        # The schema's spelling, which packages of every version have.
        channel["normalisation"] = channel.pop("normalization")
    try:
        content = parse_json(json.dumps(content))
    except ValueError as error:
        raise ModelError(f"The manifest of {manifest.name!a} cannot be written ({error}): correct it.") from error
    _check_schema(content, manifest.name)
    check_consistency(manifest, manifest.name)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def check_consistency(manifest: Manifest, source: str) -> None:
    """Refuse a manifest whose parts contradict each other.

    Raises:
        ModelError: naming the contradiction.
    """

    def require(condition: bool, complaint: str) -> None:
        if not condition:
            raise ModelError(f"{source}: {complaint}; correct the manifest.")

    network, given = manifest.network, manifest.input
    require(manifest.name.split(".")[0] not in DEVICE_NAMES, f"the name {manifest.name} is that of a device on Windows")
    require(
        len(given.channels) == network.in_channels,
        f"{len(given.channels)} channels are listed and the network takes {network.in_channels}",
    )
    in_voxels = bool(manifest.labels or manifest.landmarks)
    require(
        network.is_classifier != in_voxels or bool(manifest.outputs),
        f"the network {network.variant} is not for {manifest.task}",
    )
    require(not (network.is_classifier and network.head_channels), "a classifier has no head_channels")
    require((given.spacing is None) != (given.shape is None), "exactly one of input.spacing and input.shape is needed")
    require(
        not given.axis_order or (given.axes == "array" and set(given.axis_order) == {"x", "y", "z"}),
        "input.axis_order needs the axes array, and names x, y and z",
    )
    require(given.interpolation != "cubic" or given.axes == "array", "the interpolation cubic needs the axes array")
    require(given.crop == "none" or given.interpolation == "cubic", "input.crop needs the interpolation cubic")
    if given.axes == "array":
        require(given.orientation is None, "input.orientation has no meaning with the axes array")
    else:
        require(
            all(sum(letter in pair for letter in given.orientation or "") == 1 for pair in ("RL", "AP", "IS")),
            f"input.orientation is {given.orientation} and needs one letter of each pair R/L, A/P, I/S",
        )
    require(
        network.members_average == "logits" or bool(manifest.labels),
        "network.members_average probabilities is for segmentation",
    )
    # A classifier takes any size: it has no maps that must fit those of an encoder.
    divisible = network.is_classifier or all(size % SIZE_DIVISOR == 0 for size in given.patch)
    require(divisible, f"input.patch must be divisible by {SIZE_DIVISOR}")
    background = 1 if manifest.labels else 0
    named = len(manifest.labels) + len(manifest.landmarks) + len(manifest.outputs)
    outputs = background + named + sum(target.logits for target in manifest.targets)
    require(
        outputs == network.out_channels,
        f"the {manifest.task} needs {outputs} outputs and the network has {network.out_channels}",
    )
    require(not manifest.landmarks or manifest.heatmap is not None, "landmarks need the section heatmap")
    for channel in given.channels:
        low, high = channel.normalization.low, channel.normalization.high
        require(low is None or high is None or low < high, f"channel {channel.name} is clipped from {low} to {high}")
    values = sorted(label.value for label in manifest.labels)
    require(values == list(range(1, len(values) + 1)), "label values must be 1, 2, 3, ... (0 is the background)")
    for target in manifest.targets:
        require(not target.binary or len(target.classes) == 2, f"the binary target {target.name} needs two classes")
    for kind, names in (
        ("target", [target.name for target in manifest.targets]),
        ("label", [label.name for label in manifest.labels]),
        ("landmark", [landmark.name for landmark in manifest.landmarks]),
        ("output", [output["name"] for output in manifest.outputs]),
        ("channel", [channel.name for channel in given.channels]),
    ):
        require(len(set(names)) == len(names), f"two {kind}s have the same name")


def _check_schema(content: Any, source: str) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(_schema()).iter_errors(content))
    if error is not None:
        where, complaint = ".".join(str(part) for part in error.absolute_path) or "the manifest", error.message
        if error.validator == "pattern" and error.validator_value in _text_patterns():
            complaint = f"{error.instance[:80]!a} holds control characters"
        elif error.validator is None:
            # The schema rules the section out; jsonschema neither names it nor says why.
            where = next(key for key, value in content.items() if value == error.instance)
            complaint = f"a manifest for {content['task']} has no such section"
        if len(complaint) > _LONGEST_COMPLAINT:
            # jsonschema repeats the value that is wrong, however long it is.
            complaint = f"{complaint[:_LONGEST_COMPLAINT]} ... (rule: {error.validator} {error.validator_value})"
        raise ModelError(f"{source} does not follow the schema at {where}: {complaint}; correct the manifest.")


@lru_cache(maxsize=1)
def _schema() -> dict:
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


def _text_patterns() -> tuple[str, ...]:
    """Return the patterns that keep control characters out of texts."""
    return tuple(_schema()["$defs"][kind]["pattern"] for kind in ("line", "text"))


def label_from_dict(entry: dict) -> Label:
    """Return the label of an entry of ``model.json``."""
    terminology = entry.get("terminology")
    if terminology is not None:
        terminology = Terminology(**{key: Code(**code) for key, code in terminology.items()})
    return Label(entry["value"], entry["name"], tuple(entry["color"]), terminology)


def _input(entry: dict) -> InputSpecification:
    channels = tuple(
        Channel(channel["name"], Normalization(**channel["normalisation"]), tuple(channel.get("keywords", ())))
        for channel in entry["channels"]
    )
    lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
    # A file that names no orientation has none.
    return InputSpecification(**{"orientation": None, **entry, **lists, "channels": channels})


def _without_empty(value: Any) -> Any:
    """Return a value without what is None or empty in it, so that a file says only what applies."""
    if isinstance(value, dict):
        kept = {key: _without_empty(entry) for key, entry in value.items()}
        return {key: entry for key, entry in kept.items() if entry is not None and entry not in ({}, [], ())}
    if isinstance(value, (list, tuple)):
        return [_without_empty(entry) for entry in value]
    return value
