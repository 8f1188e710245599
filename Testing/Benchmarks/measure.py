"""What the benchmarks share: memory of a process, work in a fresh one, and the machine in words.

Importing this module first puts the checkout's packages on the path, so that benchmarks run without an installation.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import torch

_CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(_CHECKOUT / "NNMamba"), str(_CHECKOUT / "Testing" / "Python")]


def resident_bytes() -> int:
    """Return the resident memory of this process now."""
    return psutil.Process().memory_info().rss


def peak_resident_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    if sys.platform == "linux":
        # Not getrusage: its peak counts the parent's memory too, from before the new program replaced it.
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_fresh_process(script: str, *arguments: object) -> dict:
    """Run a script that prints one JSON object on its last line, and return that object."""
    command = [sys.executable, script, *map(str, arguments)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


def machine() -> str:
    """Return processor, cores, memory and versions in one line."""
    memory = psutil.virtual_memory().total / 2**30
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    try:
        import numba

        versions.append(f"numba {numba.__version__}")
    except ImportError:
        versions.append("no numba")
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; {platform.system()}, {', '.join(versions)}"


def load() -> str:
    """Return how many processes wanted a core in the last minute: timings mean little where others do."""
    return f"load {psutil.getloadavg()[0]:.1f} of {os.cpu_count()} cores"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"
