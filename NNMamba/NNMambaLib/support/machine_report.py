"""What this machine offers the engine: versions, devices, and scan backends with the reasons why not."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from NNMambaLib import __version__
from NNMambaLib.runtime.units import format_bytes

_PACKAGES = (
    "torch", "numpy", "SimpleITK", "pydicom", "safetensors", "numba",
    "mamba-ssm", "causal-conv1d", "slicer-core", "vtk",
)  # fmt: skip


def machine_report() -> dict[str, Any]:
    """Return a report of this machine, as JSON can hold it.

    Returns:
        ``versions``: {package: version, or "not installed"}.
        ``devices``: {device: its name and memory}, those that can be used.
        ``unavailable_devices``: {kind of device: the reason why there is none}.
        ``scan_backends``: {backend: None, or the reason why it cannot be used}.
        ``scan_backend``: the one that is in use where none is asked for.
        ``causal_conv1d``: None, or the reason why that accelerator cannot be used.
        ``folded_networks``: None where networks run in the form of `folding.fold`, or the reason why not.
        ``bfloat16_convolutions``: None where they can be asked for, or the reason why not.
    """
    import psutil
    import torch

    from NNMambaLib.networks.convolution import bfloat16_unavailable_reason
    from NNMambaLib.networks.scan.causal_convolution import causal_conv1d_unavailable_reason
    from NNMambaLib.networks.scan.selective_scan import available_backends, resolve_backend
    from NNMambaLib.runtime.devices import resolve_device
    from NNMambaLib.runtime.memory import free_memory

    device = resolve_device()
    memory, usable = psutil.virtual_memory(), free_memory()
    limited = f", {format_bytes(usable.bytes)} {usable.limit}" if usable.bytes < memory.available else ""
    devices = {
        "cpu": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} thread(s), "
        f"{format_bytes(memory.available)} of {format_bytes(memory.total)} free{limited}"
    }
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        devices[f"cuda:{index}"] = f"{name}, {format_bytes(free)} of {format_bytes(total)} free"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return {
        "versions": {"nnmamba": __version__, "Python": platform.python_version()}
        | {name: _version(name) for name in _PACKAGES},
        "devices": devices,
        "unavailable_devices": _unavailable_devices(torch),
        "scan_backends": available_backends(),
        "scan_backend": resolve_backend("auto", device),
        "causal_conv1d": causal_conv1d_unavailable_reason(),
        "folded_networks": "they run on the CPU, the plain form on a GPU" if device.type != "cpu" else None,
        "bfloat16_convolutions": bfloat16_unavailable_reason(device),
    }


def backend_states(report: dict[str, Any]) -> dict[str, str]:
    """Return {scan backend or its accelerator: ``in use``, ``available``, or the reason against it} of a report."""
    states = {
        name: reason or ("in use" if name == report["scan_backend"] else "available")
        for name, reason in report["scan_backends"].items()
    }
    return states | {"causal-conv1d": report["causal_conv1d"] or "available"}


def form_states(report: dict[str, Any]) -> dict[str, str]:
    """Return {form of networks: ``in use``, ``available``, or the reason against it} of a machine's report."""
    return {
        "Folded networks": report["folded_networks"] or "in use",
        "Convolutions in bfloat16": report["bfloat16_convolutions"] or "available",
    }


def _unavailable_devices(torch) -> dict[str, str]:
    reasons = {}
    if not torch.cuda.is_available():
        built_without = torch.version.cuda is None and torch.version.hip is None
        reasons["cuda"] = (
            f"PyTorch {torch.__version__} is installed without GPU support"
            if built_without
            else "PyTorch finds no GPU that its driver can use"
        )
    if platform.system() == "Darwin" and not torch.backends.mps.is_available():
        built = torch.backends.mps.is_built()
        reasons["mps"] = "macOS is too old or has no Apple GPU" if built else "PyTorch is installed without Apple's GPU"
    return reasons


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
