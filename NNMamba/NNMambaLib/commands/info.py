"""``nnmamba info``: versions, devices, memory and scan backends of this machine."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform

from NNMambaLib import __version__
from NNMambaLib.commands.console import print_table
from NNMambaLib.units import format_bytes

_PACKAGES = ("torch", "numpy", "SimpleITK", "safetensors", "numba", "mamba-ssm", "causal-conv1d", "slicer-core", "vtk")


def add_parser(commands) -> None:
    parser = commands.add_parser("info", help="versions, devices, memory and scan backends")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    import psutil
    import torch

    from NNMambaLib.networks.causal_convolution import causal_conv1d_unavailable_reason
    from NNMambaLib.networks.selective_scan import available_backends, resolve_backend

    versions = {"nnmamba": __version__, "Python": platform.python_version()}
    versions |= {name: _version(name) or "not installed" for name in _PACKAGES}
    memory = psutil.virtual_memory()
    devices = {
        "cpu": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
        f"{format_bytes(memory.available)} of {format_bytes(memory.total)} free"
    }
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        devices[f"cuda:{index}"] = f"{name}, {format_bytes(free)} of {format_bytes(total)} free"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    backends = available_backends()
    print_table(["package", "version"], [list(entry) for entry in versions.items()])
    print()
    print_table(["device", ""], [list(entry) for entry in devices.items()])
    print()
    chosen = resolve_backend("auto", "cuda" if torch.cuda.is_available() else "cpu")
    rows = [[name, reason or ("in use" if name == chosen else "available")] for name, reason in backends.items()]
    rows.append(["causal-conv1d", causal_conv1d_unavailable_reason() or "available"])
    print_table(["scan backend", ""], rows)
    return {"versions": versions, "devices": devices, "scan_backends": backends, "scan_backend": chosen}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
