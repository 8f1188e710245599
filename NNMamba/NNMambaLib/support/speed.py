"""How long a model takes on this machine, measured by running the engine on synthetic volumes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from NNMambaLib.engine import Engine
from NNMambaLib.errors import Cancelled, MemoryPlanError
from NNMambaLib.inference.memory_plan import usable_memory
from NNMambaLib.inference.preprocessing import place
from NNMambaLib.inference.sliding_window import Tiling
from NNMambaLib.inference.tasks import task_named
from NNMambaLib.models.manifest import InputSpecification
from NNMambaLib.models.package import ModelPackage
from NNMambaLib.progress import Progress
from NNMambaLib.runtime.units import format_bytes
from NNMambaLib.volumes.volume import Grid, Shape, Spacing, Volume, orientation_axes

_FEWEST_TILES = 3
# A volume that is done quickly is run again if its last tiles differ by more than this part of their median.
_STABLE, _MOST_RUNS = 0.1, 3

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Stage:
    """A part of a run and its seconds; estimated if it was not run on the whole volume."""

    name: str
    seconds: float
    estimated: bool


@dataclass(frozen=True)
class Speed:
    """How long a run of a model on a volume takes on this machine.

    Attributes:
        tile_seconds: of each tile that was measured, in order.
        tiles: in the volume, as the engine cuts it.
        starting_seconds: what a process's first tile took beyond the others: threads start, and kernels are loaded, or
            compiled where this machine has not run them yet.
        stages: of a run that loads the model, in order, without mirroring and without starting up.
        mirrors: whether the task can average over mirrored copies.
        flips: passes of the network for each tile with mirroring; 1 where the model does not allow it.
        notices: how the engine departed from what was asked for.
    """

    tile_seconds: tuple[float, ...]
    tiles: int
    starting_seconds: float
    stages: tuple[Stage, ...]
    mirrors: bool
    flips: int
    notices: tuple[str, ...]

    @property
    def median(self) -> float:
        """Seconds of a tile."""
        return statistics.median(self.tile_seconds)

    @property
    def total(self) -> float:
        """Seconds of the whole run without mirroring."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def mirrored_total(self) -> float | None:
        """Estimated seconds of the whole run with mirroring; None where the model does not allow it."""
        return None if self.flips == 1 else self.total + (self.flips - 1) * self.tiles * self.median


def measure_speed(
    engine: Engine,
    package: ModelPackage,
    size: Shape,
    spacing: Spacing,
    step: float = 0.5,
    budget: float = 15.0,
    on_progress: OnProgress = lambda progress: None,
) -> Speed:
    """Return how long the package's task takes on a volume.

    A volume of one patch is run first: it loads the model, compiles kernels and goes through all stages. Then the
    volume itself is run, and stopped once the budget is spent and three tiles are measured. The rest is estimated: the
    tiles from their median, the other stages from the first run in proportion to the voxels.

    Args:
        size, spacing: of the volume, voxels and mm along (x, y, z).
        step: distance of neighbouring tiles, in patches.
        budget: seconds for the run on the volume itself, beside its preparation and its first three tiles.

    Raises:
        MemoryPlanError, VolumeError, ModelError: as in `Engine`.
    """
    specification = package.manifest.input
    width, height, depth = size
    grid = Grid((depth, height, width), np.diag([*spacing, 1.0]))
    probe = _patch_grid(specification, grid)

    def run(grid: Grid, seconds: float) -> _Timeline:
        timeline = _Timeline(seconds, on_progress)
        timeline.run(engine, package, _synthetic_volume(grid, len(specification.channels), engine), step)
        return timeline

    first = run(probe, math.inf)
    whole = run(grid, budget)
    tiles = list(whole.tiles)
    for _ in range(_MOST_RUNS - 1):
        if whole.complete and not _stable(tiles):
            tiles += run(grid, budget).tiles
    task = task_named(package.manifest.task)
    x, y, z = specification.patch
    planned = 1 if task.whole_volume else Tiling.plan(place(grid, specification).grid.shape, (z, y, x), step).count
    notices = list(whole.notices)
    if not whole.complete and whole.tile_count != planned:
        notices.append(f"{whole.tile_count} tiles in place of {planned}: the memory is too small for the model's patch")
    mirrors = bool(task.supported(mirror=True))
    flips = 2 ** len(specification.mirror_axes) if mirrors else 1
    growth = math.prod(grid.shape) / math.prod(probe.shape)
    starting = max(0.0, first.tiles[0] - statistics.median(tiles))
    stages = tuple(_stages(first, whole, tiles, growth))
    return Speed(tuple(tiles), whole.tile_count, starting, stages, mirrors, flips, tuple(notices))


class _Timeline:
    """A run of the engine: the seconds of its stages and tiles; it is stopped `budget` seconds after its first tile."""

    def __init__(self, budget: float, on_progress: OnProgress):
        self.stages: dict[str, float] = {}
        self.tiles: list[float] = []
        self.tile_stage, self.tile_count = "", 0
        self.complete = False
        self.notices: tuple[str, ...] = ()
        self._budget, self._on_progress = budget, on_progress
        self._now, self._began = "", time.perf_counter()
        self._before = self._began

    def run(self, engine: Engine, package: ModelPackage, volume: Volume, step: float) -> None:
        task = task_named(package.manifest.task)
        options = task.supported(step=step, pad_small=True)
        self._before = time.perf_counter()
        try:
            result = engine.run(
                task.name, volume, package, on_progress=self._take, is_cancelled=self._is_enough, **options
            )  # fmt: skip
        except Cancelled:
            return
        # Going back to the input's grid is done between tiles: the engine counts it apart.
        self.stages = {name: value for name, value in result.provenance.seconds.items() if name != "total"}
        self.complete, self.notices = True, result.provenance.notices

    def _take(self, progress: Progress) -> None:
        now = time.perf_counter()
        if progress.done:
            # Only the stage that runs the network counts its steps.
            self.tile_stage, self.tile_count = progress.stage, progress.total
            self.tiles.append(now - self._before)
        else:
            self._end_stage(now)
            self._now, self._began = progress.stage, now
        self._before = now
        self._on_progress(progress)

    def _end_stage(self, now: float) -> None:
        if self._now:
            self.stages[self._now] = self.stages.get(self._now, 0.0) + now - self._began

    def _is_enough(self) -> bool:
        # The tile that this is asked after is not counted yet.
        return self._now != "" and len(self.tiles) >= _FEWEST_TILES and sum(self.tiles) > self._budget


def _stages(first: _Timeline, whole: _Timeline, tiles: list[float], growth: float) -> list[Stage]:
    """Return the stages of a run, from a first one on a volume that is `growth` times smaller and from one on it."""
    names = list(first.stages)
    place = names.index(first.tile_stage)
    loading, *preparing = names[:place]
    stages = [Stage(loading, first.stages[loading], False)]
    stages += [Stage(name, whole.stages[name], False) for name in preparing]
    if whole.complete:
        return stages + [Stage(name, whole.stages[name], False) for name in names[place:]]
    stages.append(Stage(first.tile_stage, whole.tile_count * statistics.median(tiles), True))
    return stages + [Stage(name, growth * first.stages[name], True) for name in names[place + 1 :]]


def _stable(tiles: list[float]) -> bool:
    last = tiles[-_FEWEST_TILES:]
    return len(last) == _FEWEST_TILES and max(last) - min(last) <= _STABLE * statistics.median(last)


def _patch_grid(specification: InputSpecification, grid: Grid) -> Grid:
    """Return the grid's part that fills one patch of a model, or the grid where the model takes volumes as a whole."""
    if specification.shape:
        return grid
    orientation = grid.orientation if specification.axes == "array" else specification.orientation
    assert orientation is not None, "manifests have it unless the axes are those of the array"
    assert specification.spacing is not None, "manifests have it unless they have a shape"
    size = list(reversed(grid.shape))
    for (axis, _), width, spacing in zip(
        orientation_axes(orientation), specification.patch, specification.spacing, strict=True
    ):
        size[axis] = max(1, min(size[axis], int(width * spacing / grid.spacing[axis] + 1e-3)))
    x, y, z = size
    return Grid((z, y, x), grid.matrix)


def _synthetic_volume(grid: Grid, channels: int, engine: Engine) -> Volume:
    """Return int16 noise above 0: the time does not depend on what the network sees."""
    needed, free = 2 * channels * math.prod(grid.shape), usable_memory(engine.device, engine.memory_limit).bytes
    if needed > free:
        raise MemoryPlanError(
            f"The volume alone needs {format_bytes(needed)} of memory and {format_bytes(free)} can be used: give a "
            "smaller one with --size."
        )
    noise = np.random.default_rng(0).integers(1, 1000, (channels, *grid.shape), dtype=np.int16)
    return Volume(noise, grid.matrix, "synthetic volume")
