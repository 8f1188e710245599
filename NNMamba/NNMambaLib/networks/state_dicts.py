"""Recognize the network that a state_dict belongs to, and load it: parameter names are the authors' own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from NNMambaLib.errors import ModelError
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import build

# Weights whose shapes tell a network's sizes, with the number of their axes.
_AXES = {
    "in_conv.conv.0.weight": 5,
    "conv8.conv.3.weight": 5,
    "ds1_cls_conv.weight": 5,
    "mlp.0.weight": 2,
    "mlp.3.weight": 2,
}


def recognize(state_dict: Mapping[str, torch.Tensor]) -> NetworkDescription:
    """Return the description of the network that a state_dict belongs to.

    Raises:
        ModelError: if it belongs to none; the message names the first keys that do not fit.
    """
    state = _without_module_prefix(state_dict)
    misshapen = [key for key, axes in _AXES.items() if key in state and state[key].ndim != axes]
    if misshapen:
        raise ModelError(_does_not_fit(misshapen, []))
    variant, output = _variant_and_output(state)
    missing = [key for key in ("in_conv.conv.0.weight", output) if key not in state]
    if missing:
        raise ModelError(_does_not_fit(list(state)[:3], missing))
    first = state["in_conv.conv.0.weight"]
    heads = state.get("ds1_cls_conv.weight")
    description = NetworkDescription(
        variant, first.shape[1], state[output].shape[0], first.shape[0], None if heads is None else heads.shape[0]
    )
    _check_fit(description, state)
    return description


def load_network(state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Return the network that a state_dict belongs to, with its weights, in evaluation mode.

    Raises:
        ModelError: as in `recognize`, or if two copies of a shared Mamba layer differ.
    """
    description = recognize(state_dict)
    network = build(description)
    network.load_state_dict(expand_shared_layers(_without_module_prefix(state_dict)))
    return network.eval()


def drop_shared_copies(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
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


def _variant_and_output(state) -> tuple[str, str]:
    """Return the variant's name and the key of the weight whose rows are the outputs."""
    if "mlp.0.weight" in state:
        features = state["mlp.0.weight"].shape[1]
        stem = state["in_conv.conv.0.weight"].shape[0] if "in_conv.conv.0.weight" in state else 0
        # The classifier of paper v1 pools the last stage alone, which has eight times the stem's channels.
        if features == 8 * stem:
            return "V1-CLS", "mlp.3.weight"
        # Ours pools mean and largest value of all three stages, which have 14 times the stem's channels.
        if features == 28 * stem:
            return "CLS-MAX", "mlp.3.weight"
        return "CLS-SEQ" if any(key.startswith("mamba_seq.") for key in state) else "CLS", "mlp.3.weight"
    output = "conv8.conv.3.weight"
    if any(key.startswith("mamba_layer_stem.") for key in state):
        return "V1-LAND", output
    if any(key.startswith("mamba_layer_1.") for key in state) and not any(key.startswith("att") for key in state):
        return "V1-SEG", output
    if any(key.startswith("layer1.1.mamba_layer.nin2") for key in state):
        return "SEG-CSS", output
    if any(key.startswith("layer1.1.mamba_layer.nin") for key in state):
        heads, labels = state.get("ds1_cls_conv.weight"), state.get(output)
        fixed = heads is not None and labels is not None and heads.shape[0] == 4 != labels.shape[0]
        return "SEG-NNU2" if fixed else "SEG-NNU", output
    raise ModelError(_does_not_fit(list(state)[:3], []))


def _check_fit(description: NetworkDescription, state) -> None:
    with torch.device("meta"):
        expected = _shapes(build(description).state_dict())
    found = _shapes(state)
    missing = [key for key in expected if key not in found]
    misfits = [key for key, shape in found.items() if expected.get(key) != shape]
    if missing or misfits:
        raise ModelError(_does_not_fit(misfits, missing, description.variant))


def _shapes(state) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in drop_shared_copies(state).items()}


def _does_not_fit(unexpected, missing, nearest: str | None = None) -> str:
    parts = []
    if unexpected:
        parts.append(f"it does not expect {', '.join(unexpected[:3])}")
    if missing:
        parts.append(f"it lacks {', '.join(missing[:3])}")
    of = f"nnMamba's {nearest}" if nearest else "any nnMamba network"
    return f"The weights do not fit {of}: {' and '.join(parts) or 'they are empty'}; use weights saved from nnMamba."
