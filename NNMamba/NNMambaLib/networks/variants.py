"""The published combinations of nnMamba, and two of ours, by name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from NNMambaLib.errors import ModelError
from NNMambaLib.networks.classifier import Classifier
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.encoder_decoder import EncoderDecoder
from NNMambaLib.networks.ensemble import Ensemble
from NNMambaLib.networks.layers import ConvMamba, LayerNormMamba
from NNMambaLib.networks.mamba import Mamba

_MIC_CSS = partial(ConvMamba, flips=True, fuse=True)
_MIC_SINGLE = partial(ConvMamba, d_state=8, fuse=True)


@dataclass(frozen=True)
class Variant:
    """One combination.

    Attributes:
        summary: what it is, for lists.
        network: its class.
        switches: arguments of the class beside the sizes.
    """

    summary: str
    network: type[nn.Module]
    switches: dict[str, Any] = field(default_factory=dict)


VARIANTS: dict[str, Variant] = {
    "SEG-CSS": Variant(
        "segmentation and landmarks as published (MICCSS blocks, skip gates)",
        EncoderDecoder,
        {"block_mamba": _MIC_CSS, "gates": True},
    ),
    "SEG-CSS-FULL": Variant(
        "segmentation, ours: SEG-CSS with a stem, a skip and linear outputs at full resolution",
        EncoderDecoder,
        {"block_mamba": _MIC_CSS, "gates": True, "full_resolution": True},
    ),
    "SEG-NNU": Variant(
        "segmentation of the nnU-Net fork, deep supervision to the labels",
        EncoderDecoder,
        {"block_mamba": ConvMamba, "gates": True},
    ),
    "SEG-NNU2": Variant(
        "segmentation of the nnU-Net fork, deep supervision fixed at 4 outputs",
        EncoderDecoder,
        {"block_mamba": ConvMamba, "gates": True},
    ),
    "V1-SEG": Variant("segmentation of paper v1 (Res-Mamba)", EncoderDecoder, {"stage_mamba": LayerNormMamba}),
    "V1-LAND": Variant("landmarks of paper v1 (Mamba after the stem)", EncoderDecoder, {"stem_mamba": LayerNormMamba}),
    "CLS": Variant("classification as published", Classifier, {"stem_mamba": _MIC_SINGLE}),
    "CLS-MAX": Variant(
        "classification, ours: mean and largest value of every stage, 64 hidden units, no dropout",
        Classifier,
        {"stem_mamba": _MIC_SINGLE, "hidden": 64, "pool_largest": True, "dropout": 0.0},
    ),
    "CLS-SEQ": Variant(
        "classification with channel-sequential learning",
        Classifier,
        {"stem_mamba": _MIC_SINGLE, "sequence_mamba": partial(Mamba, d_state=8, d_conv=2)},
    ),
    "V1-CLS": Variant(
        "classification of paper v1",
        Classifier,
        {"stem_mamba": LayerNormMamba, "pool_all_stages": False, "dropout": 0.0},
    ),
}


# Arguments of networks that make Mamba layers over voxels, and what a description may say of these layers.
_MAMBA_LAYERS, _MAMBA_SIZES = ("block_mamba", "stem_mamba", "stage_mamba"), {"d_state": 16, "d_conv": 4, "expand": 2}

# Of an encoder-decoder and of a classifier.
_PUBLISHED = {False: "SEG-CSS", True: "CLS"}
# What training takes by itself: CLS has C hidden units and drops half of them, and hardly learns where C is small.
TRAINED_CLASSIFIER = "CLS-MAX"


def variant_for(classifier: bool, name: str | None = None) -> str:
    """Return the variant of that name, or the published one where it is None.

    Args:
        classifier: whether the network answers for the whole volume; else it has an output for each voxel.

    Raises:
        ModelError: if there is no such variant of that kind.
    """
    fitting = [key for key, variant in VARIANTS.items() if (variant.network is Classifier) == classifier]
    name = name or _PUBLISHED[classifier]
    if name not in fitting:
        kind = "a classifier" if classifier else "an encoder-decoder"
        raise ModelError(f"The task needs {kind} and {name} is not one: choose one of {', '.join(fitting)}.")
    return name


def mamba_sizes(name: str) -> dict[str, int]:
    """Return d_state, d_conv and expand of a variant's Mamba layers over voxels, as published."""
    switches = VARIANTS[name].switches
    layer = next(switches[key] for key in _MAMBA_LAYERS if key in switches)
    own = layer.keywords if isinstance(layer, partial) else {}
    return {key: own.get(key, usual) for key, usual in _MAMBA_SIZES.items()}


def build(description: NetworkDescription) -> nn.Module:
    """Return a network with fresh random weights, in training mode; or an ensemble of them."""
    if description.members > 1:
        members = [build(replace(description, members=1)) for _ in range(description.members)]
        return Ensemble(members, description.members_average)
    variant = VARIANTS[description.variant]
    sizes = {name: getattr(description, name) for name in _MAMBA_SIZES}
    own = {name: size for name, size in sizes.items() if size is not None}
    extra: dict[str, Any] = {
        name: partial(layer, **own) for name, layer in variant.switches.items() if own and name in _MAMBA_LAYERS
    }
    if variant.network is EncoderDecoder:
        extra["head_channels"] = description.head_channels
    return variant.network(
        description.in_channels, description.out_channels, description.base_width, **{**variant.switches, **extra}
    )


def __getattr__(name: str) -> object:
    """Hand on `load_network`, which was here in version 0.1; it goes with version 0.3."""
    if name == "load_network":
        import warnings

        from NNMambaLib.networks.state_dicts import load_network

        warnings.warn("load_network is now in NNMambaLib.networks.state_dicts", DeprecationWarning, stacklevel=2)
        return load_network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
