"""Shared by the benchmarks: times taken in turn, a process's memory, work in a fresh process, the machine as text.

Importing this module first puts the checkout's packages on the path, so that benchmarks run without an installation.
"""

import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(CHECKOUT / "NNMamba"), str(CHECKOUT / "Testing" / "Python")]

from NNMambaLib.runtime.openmp import limit_spinning  # noqa: E402

MIB, GIB = 2**20, 2**30

# Variables that change times or memory of everything compared; fresh processes run without them.
_DISTURBING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@dataclass(frozen=True)
class Contestant:
    """What is timed against others.

    Attributes:
        run: the work; it returns an output to compare, or anything.
        warm_up: called once before; by default the work itself.
        context: entered for each repeat, in which the work is done once untimed and once timed: for what an engine
            switches on once for many tiles, and what the others must not profit from.
        repeats: at most; None for as many as the rest.
    """

    run: Callable[[], object]
    warm_up: Callable[[], object] | None = None
    context: Callable[[], AbstractContextManager] | None = None
    repeats: int | None = None


@dataclass(frozen=True)
class Times:
    """Seconds of the repeats of one contestant."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> str:
        """Fastest to slowest, as text."""
        return f"{format_seconds(min(self.seconds))} to {format_seconds(max(self.seconds))}"

    def as_dict(self) -> dict:
        return {"median": self.median, "min": min(self.seconds), "max": max(self.seconds), "count": len(self.seconds)}


def take_times(contestants: dict[str, Contestant], repeats: int) -> tuple[dict[str, Times], dict[str, object]]:
    """Time contestants in turn, round after round; return their times and the outputs of their last repeats."""
    for contestant in contestants.values():
        (contestant.warm_up or contestant.run)()
    seconds = {name: [] for name in contestants}
    outputs = {}
    for number in range(repeats):
        for name, contestant in contestants.items():
            if contestant.repeats is not None and number >= contestant.repeats:
                continue
            outputs.pop(name, None)
            with (contestant.context or nullcontext)():
                if contestant.context is not None:
                    contestant.run()
                began = time.perf_counter()
                outputs[name] = contestant.run()
                seconds[name].append(time.perf_counter() - began)
    return {name: Times(tuple(values)) for name, values in seconds.items()}, outputs


def format_seconds(seconds: float) -> str:
    """Return seconds with three digits, at least to the millisecond."""
    decimals = 1 if seconds >= 100 else 2 if seconds >= 1 else 3 if seconds >= 0.1 else 4
    return f"{seconds:.{decimals}f}"


def largest_difference(output: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference of two tensors over the largest magnitude that is expected."""
    return ((output.double() - expected.double()).abs().max() / expected.double().abs().max()).item()


def extra_memory(run: Callable[[], object]) -> int:
    """Return the bytes by which resident memory rises at most while `run` runs; for a fresh process."""
    gc.collect()
    if sys.platform == "linux":
        # Give memory freed while warming up back to the system, for reusing it would not be seen, and reset the peak.
        library = ctypes.CDLL(None)
        if hasattr(library, "malloc_trim"):
            library.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes()
    run()
    return max(0, peak_resident_bytes() - before)


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
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=clean_environment())
    return json.loads(finished.stdout.splitlines()[-1])


def clean_environment() -> dict[str, str]:
    """Return the environment of the engine's own processes, without variables that change all that is compared."""
    environment = {name: value for name, value in os.environ.items() if name not in _DISTURBING}
    limit_spinning(environment)
    return environment


def machine(packages: Iterable[str] = ()) -> str:
    """Return processor, cores, memory and versions, also of further packages, in one line."""
    memory = psutil.virtual_memory().total / GIB
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    versions += [package_version(name) for name in ("numba", *packages)]
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; {platform.system()}, {', '.join(versions)}"


def package_version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def load() -> str:
    """Return how many processes wanted a core in the last minute: timings mean little beside others.

    Variables of the environment that change times or memory are named too.
    """
    disturbing = "".join(f", {name}={os.environ[name]}" for name in _DISTURBING if name in os.environ)
    return f"load {psutil.getloadavg()[0]:.1f} of {os.cpu_count()} cores{disturbing}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"
