"""The weights of a model package: from a network to the bytes of a safetensors file, and back."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from NNMambaLib.errors import ModelError
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.state_dicts import drop_shared_copies, expand_shared_layers
from NNMambaLib.networks.variants import build


def network_from_bytes(content: bytes, description: NetworkDescription, source: str) -> nn.Module:
    """Return the network with its weights in float32, in evaluation mode, on the CPU.

    Raises:
        ModelError: naming `source`, if the weights are damaged or do not fit the network.
    """
    try:
        state = load(content)
    except SafetensorError as error:
        raise ModelError(f"The weights of {source} cannot be read ({error}): install the package again.") from error
    network = build(description)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    try:
        network.load_state_dict(expand_shared_layers(state))
    except RuntimeError as error:
        complaint = " ".join(str(error).split()[:40])
        raise ModelError(
            f"The weights of {source} do not fit its network {description.variant} ({complaint} ...): "
            "install the package again."
        ) from error
    return network.eval()


def network_to_bytes(network: nn.Module, description: NetworkDescription, name: str, half: bool = False) -> bytes:
    """Return a network's weights as a safetensors file, each shared layer once; see `package.write_package`.

    Raises:
        ModelError: naming `name`, if the network is not the one described.
    """
    state = {
        key: (_halved(value) if half else value).detach().cpu().contiguous().clone()
        for key, value in drop_shared_copies(network.state_dict()).items()
    }
    expected = drop_shared_copies(build(description).state_dict())
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in expected.items()}:
        raise ModelError(f"The network is not the {description.variant} that the manifest of {name} states.")
    return save(state)


def _halved(value: torch.Tensor) -> torch.Tensor:
    fits = value.is_floating_point() and bool(torch.isfinite(value.half()).all())
    return value.half() if fits else value
