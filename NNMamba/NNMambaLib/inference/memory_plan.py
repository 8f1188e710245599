"""How much memory a run needs, and smaller ways to run it when there is less."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from NNMambaLib.errors import MemoryPlanError
from NNMambaLib.inference.sliding_window import Tiling
from NNMambaLib.models.weights import number_count
from NNMambaLib.networks.description import FULL_RESOLUTION_WIDTH, SIZE_DIVISOR, NetworkDescription
from NNMambaLib.runtime.forks import has_computed
from NNMambaLib.runtime.memory import FreeMemory, free_memory
from NNMambaLib.runtime.units import format_bytes
from NNMambaLib.volumes.volume import Shape

_FLOAT = 4
_MIB = 2**20
# Of allocators, beside the arrays that are counted; and what freed blocks of unlike sizes leave unused, at most.
_MARGIN, _SCATTERED = 1.1, 100 * _MIB
# Compiled kernels, of numba and of oneDNN, which are loaded or made with the first tile.
_LIBRARIES = 110 * _MIB
# Copies of the weights: while they are read and folded, and from then on.
_LOADING, _LOADED = 3.7, 1.15
_SMALLEST_PATCH = 2 * SIZE_DIVISOR


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes beside the caller's volume, at the two moments when most is held.

    Attributes:
        running: on the host, while tiles run.
        around: on the host, before that (resampling, normalizing) or after it (an explanation to the input's grid).
        network: by one tile's forward pass, on the device; where that is the CPU it comes on top of `running`.
    """

    running: int
    around: int
    network: int

    @property
    def total(self) -> int:
        return max(self.running + self.network, self.around)

    def on_host(self, device: torch.device) -> int:
        return self.total if device.type == "cpu" else max(self.running, self.around)


# The memory that a patch (z, y, x) needs on a device.
NeedOfPatch = Callable[[Shape, torch.device], MemoryNeed]


@dataclass(frozen=True)
class Attempt:
    """One way to run: device, patch (z, y, x), the memory it needs, and how it departs from what was asked for."""

    device: torch.device
    patch: Shape
    need: MemoryNeed
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunSizes:
    """What a run's memory depends on.

    Attributes:
        network: that runs.
        source, grid: voxels (z, y, x) of the input and of the model's grid.
        resampled: whether the one is interpolated on the other.
        backend: of the selective scan, as it will be used.
        loaded: whether the network is in memory already.
    """

    network: NetworkDescription
    source: Shape
    grid: Shape
    resampled: bool
    backend: str = "torch"
    loaded: bool = False

    @functools.cached_property
    def weight_bytes(self) -> int:
        """Bytes of the network's weights that are still to be loaded."""
        return 0 if self.loaded else _FLOAT * number_count(self.network)

    @property
    def prepared_bytes(self) -> int:
        """Bytes of the network's input."""
        return math.prod(self.grid) * self.network.in_channels * _FLOAT

    @property
    def preparing_bytes(self) -> int:
        """Bytes while the input is prepared: copies of a channel, one of them smoothed, then those for percentiles."""
        resampling = 3 * _FLOAT * math.prod(self.source) if self.resampled else 0
        return self.prepared_bytes + max(resampling + _FLOAT * math.prod(self.grid), 3 * _FLOAT * math.prod(self.grid))


def network_bytes(network: NetworkDescription, patch: Shape, device: torch.device, backend: str = "torch") -> int:
    """Return the peak bytes of one forward pass on a patch: of a folded network on the CPU, else of a plain one.

    Fitted from above to measured peaks of all variants (widths 8 to 32, 2 to 100 outputs, patches of 64 to 160, each
    scan that runs on a CPU); `Testing/Benchmarks/memory_estimate.py` shows how well.
    """
    # A layer with a wider inside than those that were measured counts as a network of that width.
    width, outputs = math.ceil(network.base_width * max(2, network.expand or 2) / 2), network.out_channels
    if device.type != "cpu":
        floats = 4 * width + (8 if network.is_classifier else 3 * outputs)
        if network.is_full_resolution:
            floats += 2 * FULL_RESOLUTION_WIDTH
    elif network.is_classifier:
        floats = 1.75 * width + 5 if backend == "numba" else 3.5 * width + 8
    elif network.is_full_resolution:
        narrow = min(width, FULL_RESOLUTION_WIDTH)
        floats = 1.25 * width + max(2.75 * narrow, narrow + 1.5 * outputs) + 7
    else:
        floats = max(1.75 * width, width + 1.5 * outputs) + 5
    return int(math.prod(patch) * floats * _FLOAT)


def sliding_window_need(
    sizes: RunSizes,
    patch: Shape,
    device: torch.device,
    label_bytes: int = 0,
    returned_bytes: int = 0,
    kept_bytes: int = 0,
) -> MemoryNeed:
    """Return what a sliding window needs, its result included.

    Args:
        label_bytes: of each voxel that is accumulated, beside its outputs.
        returned_bytes: of each voxel of the input's grid.
        kept_bytes: of each voxel of the model's grid, until the end.
    """
    outputs = sizes.network.out_channels * _FLOAT
    tiling = Tiling.plan(sizes.grid, patch)
    slab = list(tiling.slab_shape)
    slab[tiling.stream_axis] += 1
    accumulated = math.prod(slab) * (outputs + label_bytes)
    kept = math.prod(sizes.grid) * kept_bytes + math.prod(sizes.source) * returned_bytes
    # The tile, and the outputs of one that may come again.
    tiles = math.prod(patch) * (sizes.network.in_channels * _FLOAT + outputs)
    running = sizes.prepared_bytes + accumulated + kept + tiles
    return _whole_need(sizes, running, sizes.preparing_bytes, patch, device)


def classifier_need(sizes: RunSizes, patch: Shape, device: torch.device, explanation: bool = False) -> MemoryNeed:
    """Return what a classifier needs; an explanation is a volume on the input's grid, of which there are two copies."""
    returning = sizes.prepared_bytes + 2 * _FLOAT * math.prod(sizes.source) if explanation else 0
    around = max(sizes.preparing_bytes, returning)
    return _whole_need(sizes, sizes.prepared_bytes + math.prod(patch) * _FLOAT, around, patch, device)


def _whole_need(sizes: RunSizes, running: int, around: int, patch: Shape, device: torch.device) -> MemoryNeed:
    """Return the need for arrays of so many bytes, with what comes on top: network, weights, libraries, allocators."""
    network = network_bytes(sizes.network, patch, device, sizes.backend)
    libraries = 0 if has_computed() else _LIBRARIES
    kept = int(_LOADED * sizes.weight_bytes)
    if device.type != "cpu":
        network, kept = network + kept, 0
    scattered = min(_SCATTERED, running + network)
    return MemoryNeed(
        running=int(_MARGIN * running) + scattered + kept + libraries,
        around=max(int(_MARGIN * around) + kept, int(_LOADING * sizes.weight_bytes)) + libraries,
        network=network,
    )


def attempts(
    devices: list[torch.device],
    patch: Shape,
    need: NeedOfPatch,
    memory_limit: int | None = None,
    reduce_patch: bool = True,
) -> Iterator[Attempt]:
    """Yield ways to run, best first: the patch as it is, then halved step by step, on each device in turn.

    Ways that do not fit by the estimate are left out. (Fewer mirrored copies save no memory: they run one at a time.)

    Args:
        need: from a patch and a device to its `MemoryNeed`.
        memory_limit: bytes to stay under, on the host and on the device alike; None takes what is free.

    Raises:
        MemoryPlanError: if no way fits, or all that fit were tried.
    """
    asked_device, asked_patch = devices[0], patch
    least = None
    for device in devices:
        smaller: Shape | None = asked_patch
        while smaller is not None:
            needed = need(smaller, device)
            least = needed if least is None else min(least, needed, key=lambda n: n.total)
            if _fits(needed, device, memory_limit):
                yield Attempt(device, smaller, needed, _departures(asked_device, asked_patch, device, smaller))
            smaller = _halved(smaller) if reduce_patch else None
    assert least is not None, "there is at least one device"
    free = usable_memory(torch.device("cpu"), memory_limit)
    needed = least.on_host(torch.device("cpu"))
    raise MemoryPlanError(
        f"The run needs at least {format_bytes(needed)} of memory and {format_bytes(free.bytes)} can be used "
        f"({free.limit}): close other programs or raise the limit, crop the volume, or ask for no probabilities."
    )


def usable_memory(device: torch.device, memory_limit: int | None = None) -> FreeMemory:
    """Return what a run can use of a device's memory, or `memory_limit` if that is less, and what limits it."""
    if device.type == "cuda":
        free = FreeMemory(torch.cuda.mem_get_info(device)[0], f"free on {device}")
    else:
        free = free_memory()
    if memory_limit is not None and memory_limit < free.bytes:
        return FreeMemory(memory_limit, "the limit that was given")
    return free


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on the host or on the device."""
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "alloc" in str(error) and "memory" in str(error)
    )


def _fits(need: MemoryNeed, device: torch.device, memory_limit: int | None) -> bool:
    if need.on_host(device) > usable_memory(torch.device("cpu"), memory_limit).bytes:
        return False
    return device.type != "cuda" or need.network <= usable_memory(device, memory_limit).bytes


def _halved(patch: Shape) -> Shape | None:
    """Return the patch with its longest axis halved to a multiple of 16, or None if it cannot get smaller."""
    longest = max(patch)
    if longest <= _SMALLEST_PATCH:
        return None
    axis = patch.index(longest)
    size = max(_SMALLEST_PATCH, longest // 2 // SIZE_DIVISOR * SIZE_DIVISOR)
    z, y, x = (size if index == axis else width for index, width in enumerate(patch))
    return z, y, x


def _departures(asked_device, asked_patch, device, patch) -> tuple[str, ...]:
    notices = []
    if device != asked_device:
        notices.append(f"run on {device} and not on {asked_device}, whose memory did not suffice")
    if patch != asked_patch:
        sizes = ("x".join(str(size) for size in reversed(p)) for p in (asked_patch, patch))
        notices.append("patch reduced from {} to {} voxels to fit the memory".format(*sizes))
    return tuple(notices)
