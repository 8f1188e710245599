"""The weights of a model package: from a network to the bytes of a safetensors file, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from NNMambaLib.errors import ModelError
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.state_dicts import drop_shared_copies, expand_shared_layers
from NNMambaLib.networks.variants import build
from NNMambaLib.strict_json import parse_json

# Of the header, which has a line for each tensor.
_MAX_HEADER_BYTES = 4 * 2**20
_LONGEST_NUMBER_BYTES = 8


def network_from_bytes(content: bytes, description: NetworkDescription, source: str) -> nn.Module:
    """Return the network with its weights in float32, in evaluation mode, on the CPU.

    Raises:
        ModelError: naming `source`, if the weights are damaged or do not fit the network.
    """
    try:
        shapes = _shapes_in(content)
        _require_fit(shapes, description, source)
        state = load(content)
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"The weights of {source} cannot be read ({error}): install the package again.") from error
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(
                f"The weights of {source} are not finite ({key} holds NaN or infinity), so that nothing they say has a "
                "meaning: get the package again from its authors."
            )
    # Without tensors of its own: the weights take their place, and are in memory once.
    with torch.device("meta"):
        network = build(description)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    network.load_state_dict(expand_shared_layers(state), assign=True)
    return network.eval()


def largest_size(description: NetworkDescription) -> int:
    """Return the bytes that a network's weights can take as a file, found without making the network."""
    return _LONGEST_NUMBER_BYTES * number_count(description) + _MAX_HEADER_BYTES


def number_count(description: NetworkDescription) -> int:
    """Return how many numbers a network's weights are, shared layers counted as often as they are used."""
    return sum(value.numel() for value in _expected_state(description).values())


def network_to_bytes(network: nn.Module, description: NetworkDescription, name: str, half: bool = False) -> bytes:
    """Return a network's weights as a safetensors file, each shared layer once; see `package.write_package`.

    Raises:
        ModelError: naming `name`, if the network is not the one described.
    """
    state = {
        key: (_halved(value) if half else value).detach().cpu().contiguous().clone()
        for key, value in drop_shared_copies(network.state_dict()).items()
    }
    if _shapes(state) != _shapes(drop_shared_copies(_expected_state(description))):
        raise ModelError(f"The network is not the {description.variant} that the manifest of {name} states.")
    return save(state)


def _expected_state(description: NetworkDescription) -> dict[str, torch.Tensor]:
    """Return a network's state_dict of tensors that have shapes and take no memory."""
    with torch.device("meta"):
        return build(description).state_dict()


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def _shapes_in(content: bytes) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a safetensors file names in its header.

    Raises:
        ValueError: if the header is damaged.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_MAX_HEADER_BYTES, len(content) - 8):
        raise ValueError("its header is cut short or too long")
    header = parse_json(content[8 : 8 + length].decode("utf-8"))
    if not isinstance(header, dict):
        raise ValueError("its header names no tensors")
    tensors = {key: entry for key, entry in header.items() if key != "__metadata__"}
    for key, entry in tensors.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("shape"), list):
            raise ValueError(f"its header has no shape for {key!r}")
    return {key: tuple(entry["shape"]) for key, entry in tensors.items()}


def _require_fit(found: dict[str, tuple[int, ...]], description: NetworkDescription, source: str) -> None:
    """Refuse weights whose shapes are not those of the network, before either takes memory.

    Raises:
        ModelError: naming the first tensor that does not fit.
    """
    state = _expected_state(description)
    expected, missing = _shapes(state), [key for key in drop_shared_copies(state) if key not in found]
    for key in [*missing, *found]:
        if found.get(key) != expected.get(key):
            shapes = " and the network has ".join(
                f"no {key}" if shape is None else f"{key} as {'x'.join(map(str, shape)) or 'a number'}"
                for shape in (found.get(key), expected.get(key))
            )
            raise ModelError(
                f"The weights of {source} do not fit its network {description.variant} of width "
                f"{description.base_width} (they have {shapes}): install the package again."
            )


def _halved(value: torch.Tensor) -> torch.Tensor:
    fits = value.is_floating_point() and bool(torch.isfinite(value.half()).all())
    return value.half() if fits else value
