"""How much memory this process may still take, and what limits that: the machine, a container, or ``ulimit -v``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

# Limits that are none: a control group without one says "max", or in version 1 a number near 2^63.
_UNLIMITED = 2**60


@dataclass(frozen=True)
class FreeMemory:
    """Bytes that can still be taken on the host, and what limits them, in words."""

    bytes: int
    limit: str


def free_memory(system: Path = Path("/"), process: str = "self") -> FreeMemory:
    """Return the least of what is free on the machine, in this process's control groups, and in its address space.

    Containers and cluster jobs are limited by control groups (cgroup, version 1 and 2; each group and all above it
    count), and their processes see the whole machine's memory all the same.

    Args:
        system: where ``/proc`` and ``/sys`` are.
        process: whose control groups are asked.
    """
    limits = [FreeMemory(psutil.virtual_memory().available, "free on this machine"), *_address_space()]
    limits += _control_groups(system, process)
    return min(limits, key=lambda free: free.bytes)


def _address_space() -> Iterator[FreeMemory]:
    if sys.platform == "win32":
        return
    import resource

    largest, _ = resource.getrlimit(resource.RLIMIT_AS)
    if largest != resource.RLIM_INFINITY:
        taken = psutil.Process().memory_info().vms
        yield FreeMemory(max(0, largest - taken), "left of the address space (ulimit -v)")


def _control_groups(system: Path, process: str) -> Iterator[FreeMemory]:
    try:
        lines = (system / "proc" / process / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        # Another system than Linux.
        return
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if number == "0" and not controllers:
            mount = system / "sys/fs/cgroup"
            names = ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = system / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        for folder in _groups(mount, path):
            with suppress(OSError, ValueError):
                yield from _left(folder, *names)


def _groups(mount: Path, path: str) -> list[Path]:
    """Return the folders of a group and of all above it; in a container the mount itself may be the group."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return [mount.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _left(folder: Path, limit: str, usage: str, reclaimable: str) -> Iterator[FreeMemory]:
    text = (folder / limit).read_text(encoding="ascii").strip()
    if text == "max" or int(text) >= _UNLIMITED:
        return
    taken = int((folder / usage).read_text(encoding="ascii"))
    rows = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    # Files that were read and can be dropped count as taken.
    taken -= int(rows.get(reclaimable, 0))
    yield FreeMemory(max(0, int(text) - taken), "left of the container's limit (cgroup)")
