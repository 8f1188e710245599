"""What a model package's manifest (``model.json``) says, as typed values; `manifest_file` reads and writes them.

Lengths and orders are those of the file: sizes and spacings along (x, y, z), in voxels and mm. Orientation letters name
the direction of rising index, so ``RAS`` has x to the patient's right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.volumes.volume import Shape, Spacing


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
