"""The device to compute on."""

from __future__ import annotations

import os

import torch

from NNMambaLib.errors import BackendError


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is a CUDA or MPS device where torch has one, else the CPU.

    Raises:
        BackendError: if it cannot be used on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    return _usable(name)


def training_device(name: str = "auto") -> torch.device:
    """Return the device to train on: ``auto`` is this process's CUDA device where there is one, else the CPU.

    Under ``torchrun`` each process has a device of its own (``LOCAL_RANK``).

    Raises:
        BackendError: if the named device cannot be used on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("cpu")
    return _usable(name)


def _usable(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackendError(f"The device '{name}' cannot be used ({reason}): choose --device auto or cpu.") from error
    return device
