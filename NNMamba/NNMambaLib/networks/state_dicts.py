"""Recognize the network that a state_dict belongs to, and load it: parameter names are the authors' own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, TypeVar

import torch
from torch import nn

from NNMambaLib.errors import ModelError
from NNMambaLib.networks.classifier import Classifier
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import VARIANTS, build, mamba_sizes

_T = TypeVar("_T")

# Sizes of published networks have at most three digits; a larger one is not taken for a size.
_LARGEST_SIZE = 4096
_FIRST, _HEADS = "in_conv.conv.0.weight", "ds1_cls_conv.weight"


class HasShape(Protocol):
    """A tensor, or what is known of one before it is read."""

    @property
    def shape(self) -> Sequence[int]: ...


def recognize(state_dict: Mapping[str, HasShape]) -> NetworkDescription:
    """Return the description of the network that a state_dict belongs to: all its sizes are read from the shapes.

    Raises:
        ModelError: if it belongs to none; the message names the first keys that differ from the nearest variant's.
    """
    found = _shapes(_without_module_prefix(state_dict))
    nearest: tuple[NetworkDescription, _Difference] | None = None
    for name in VARIANTS:
        description = _description(found, name)
        difference = _difference(found, description)
        if difference.count == 0:
            return description
        if nearest is None or difference.count < nearest[1].count:
            nearest = description, difference
    assert nearest is not None, "there are variants"
    raise ModelError(_does_not_fit(found, *nearest))


def load_network(state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Return the network that a state_dict belongs to, with its weights, in evaluation mode.

    Raises:
        ModelError: as in `recognize`, or if two copies of a shared Mamba layer differ.
    """
    description = recognize(state_dict)
    network = build(description)
    network.load_state_dict(expand_shared_layers(_without_module_prefix(state_dict)))
    return network.eval()


def drop_shared_copies(state_dict: Mapping[str, _T]) -> dict[str, _T]:
    """Return the state_dict with each shared Mamba layer once, under block 1 of its stage."""
    return {key: value for key, value in state_dict.items() if _shared_original(key) not in state_dict}


def expand_shared_layers(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state_dict with each shared Mamba layer under blocks 1 and 2 of its stage.

    Raises:
        ModelError: if both copies are there and differ.
    """
    expanded = dict(state_dict)
    for key, value in state_dict.items():
        original = _shared_original(key)
        if original is not None and original in state_dict and not torch.equal(value, state_dict[original]):
            raise ModelError(
                f"The weights hold two different copies of one shared Mamba layer ({original} and {key}): "
                "they were not saved from an nnMamba network; use the original checkpoint."
            )
        if ".1.mamba_layer." in key:
            expanded.setdefault(key.replace(".1.mamba_layer.", ".2.mamba_layer."), value)
    return expanded


def _shared_original(key: str) -> str | None:
    return key.replace(".2.mamba_layer.", ".1.mamba_layer.") if ".2.mamba_layer." in key else None


def _without_module_prefix(state_dict):
    return {key.removeprefix("module."): value for key, value in state_dict.items()}


def _shapes(state: Mapping[str, HasShape]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in drop_shared_copies(state).items()}


def _description(found: Mapping[str, tuple[int, ...]], variant: str) -> NetworkDescription:
    """Return a variant with the sizes that these shapes tell; those that they do not tell are the smallest."""

    def size(key: str, axis: int, default: int = 1) -> int:
        shape = found.get(key, ())
        return shape[axis] if axis < len(shape) and 0 < shape[axis] <= _LARGEST_SIZE else default

    output = _output_layer(variant)
    outputs = size(f"{output}.weight", 0, size(f"{output}.bias", 0))
    heads = size(_HEADS, 0) if _HEADS in found and VARIANTS[variant].network is not Classifier else None
    if variant == "SEG-NNU2" and heads is not None:
        heads = 4
    elif variant == "SEG-NNU" and heads == 4:
        # Where they are 4 and the labels are not, the heads are those of the other variant.
        heads = outputs
    usual, layers = mamba_sizes(variant), [key.removesuffix("A_log") for key in found if _is_state_matrix(key)]

    def most(sizes: list[int], name: str) -> dict[str, int]:
        # One layer that differs from all others is what is wrong, and not what is right.
        common = Counter(sizes).most_common(1)
        return {name: common[0][0]} if common and common[0][0] != usual[name] else {}

    inner = [(size(f"{layer}A_log", 0, 2), size(f"{layer}in_proj.weight", 1, 1)) for layer in layers]
    own = {
        **most([size(f"{layer}A_log", 1, usual["d_state"]) for layer in layers], "d_state"),
        **most([size(f"{layer}conv1d.weight", 2, usual["d_conv"]) for layer in layers], "d_conv"),
        **most([wide // narrow or 1 for wide, narrow in inner], "expand"),
    }
    width = size(_FIRST, 0, size("layer1.0.conv1.weight", 1))
    return replace(NetworkDescription(variant, size(_FIRST, 1), outputs, width, heads), **own)


def _output_layer(variant: str) -> str:
    if VARIANTS[variant].network is Classifier:
        return "mlp.3"
    return "output" if VARIANTS[variant].switches.get("full_resolution") else "conv8.conv.3"


def _is_state_matrix(key: str) -> bool:
    return key.endswith("mamba.A_log") and not key.startswith("mamba_seq.")


@dataclass(frozen=True)
class _Difference:
    """How shapes differ from a network's: names beside its own, those that are missing, and those of another shape."""

    beside: list[str]
    missing: list[str]
    misshapen: dict[str, tuple[int, ...]]
    shared: int

    @property
    def count(self) -> int:
        return len(self.beside) + len(self.missing) + len(self.misshapen)


def _difference(found: Mapping[str, tuple[int, ...]], description: NetworkDescription) -> _Difference:
    expected = _expected(description)
    return _Difference(
        [key for key in found if key not in expected],
        [key for key in expected if key not in found],
        {key: shape for key, shape in expected.items() if key in found and found[key] != shape},
        sum(key in found for key in expected),
    )


@lru_cache(maxsize=32)
def _expected(description: NetworkDescription) -> Mapping[str, tuple[int, ...]]:
    with torch.device("meta"):
        return _shapes(build(description).state_dict())


def _does_not_fit(found: Mapping[str, tuple[int, ...]], nearest: NetworkDescription, difference: _Difference) -> str:
    if difference.shared == 0:
        first = f"their first are {_listed(list(found))}" if found else "they are empty"
        return f"The weights do not fit any nnMamba network: {first}; use weights saved from nnMamba."
    parts = [f"they have {_listed(difference.beside)} beside"] if difference.beside else []
    parts += [f"they lack {_listed(difference.missing)}"] if difference.missing else []
    parts += [
        f"{_shown(key)} is {_size(found[key])} and should be {_size(shape)}"
        for key, shape in list(difference.misshapen.items())[:3]
    ]
    sizes = f"width {nearest.base_width}, {nearest.in_channels} in, {nearest.out_channels} out"
    return (
        f"The weights do not fit any nnMamba network; the nearest is {nearest.variant} ({sizes}), and "
        f"{', '.join(parts)}: use weights saved from nnMamba."
    )


def _listed(keys: list[str]) -> str:
    rest = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
    return ", ".join(_shown(key) for key in keys[:3]) + rest


def _shown(key: str) -> str:
    key = key if len(key) <= 100 else f"{key[:100]}..."
    return key if key.isascii() and key.isprintable() else ascii(key)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
