"""What a task is: everything that segmentation, landmarks and classification do differently.

The engine, the worker, the command line, the self-test and the benchmark ask a task and know no other difference.
Slicer's process and the command line's parser ask tasks, too, so neither this file nor those of the tasks import torch
or SimpleITK before a run begins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.models.limits import MIN_STEP
from NNMambaLib.models.manifest import Manifest
from NNMambaLib.results import Provenance, Result
from NNMambaLib.volumes.volume import Shape, Volume

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from NNMambaLib.evaluation.report import Report
    from NNMambaLib.inference.memory_plan import MemoryNeed, RunSizes
    from NNMambaLib.inference.preprocessing import Prepared
    from NNMambaLib.progress import Monitor

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Option:
    """An option of a task.

    Attributes:
        name: the keyword in Python; ``--pad-small`` for ``pad_small`` on the command line.
        kind: bool, float or str; a str is None where it is not given.
        help: for the command line; None where it has no such option, because an output file asks for it.
        metavar: what the command line's help calls the value.
        recorded: whether the result's provenance states it (options that only add outputs are not).
    """

    name: str
    kind: type
    default: Any
    help: str | None = None
    metavar: str | None = None
    recorded: bool = True


@dataclass(frozen=True)
class OutputFile:
    """A file that the command line can write.

    Attributes:
        name: of its option: ``output``, the one that is required, or another.
        endings: that its name may have.
        asks_for: the option that is on where this file is asked for.
        former_name: an older name of the option that is still taken.
    """

    name: str
    endings: tuple[str, ...]
    help: str
    asks_for: str | None = None
    former_name: str | None = None


@dataclass(frozen=True)
class RunContext:
    """What a run hands to its task.

    Attributes:
        volume: as it was given, all channels in one.
        patch: voxels along (z, y, x) that the network takes at a time.
        options: all options of the task.
    """

    manifest: Manifest
    volume: Volume
    network: nn.Module
    device: torch.device
    patch: Shape
    options: Mapping[str, Any]
    monitor: Monitor


class Task(ABC, Generic[R]):
    """A kind of result.

    Attributes:
        name: as manifests, requests and reports have it.
        command: the name of its command, ``nnmamba COMMAND``.
        summary: of the command, for its help.
        options: what a run can be told.
        files: what the command can write, the required one first.
        whole_volume: whether the network takes the volume as one patch, cropped or padded about its center, and not
            tile by tile; such a patch cannot be reduced to save memory.
        fewest_outputs: of a network for this task.
        demo_file: name of the file with its result in the demo.
    """

    name: ClassVar[str]
    command: ClassVar[str]
    summary: ClassVar[str]
    options: ClassVar[tuple[Option, ...]]
    files: ClassVar[tuple[OutputFile, ...]]
    whole_volume: ClassVar[bool]
    fewest_outputs: ClassVar[int]
    demo_file: ClassVar[str]

    # --- a run, in the order in which it happens ---------------------------------------------------------------------

    def supported(self, **options: Any) -> dict[str, Any]:
        """Return those of the options that the task has, for callers that run any task."""
        return {option.name: options[option.name] for option in self.options if option.name in options}

    def complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options, those that are not given with their defaults.

        Raises:
            TypeError: if the task has no such option.
            VolumeError: if the tiles' step is not in [`MIN_STEP`, 1].
        """
        known = {option.name: option.default for option in self.options}
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise TypeError(f"{self.name} has no option '{unknown[0]}', only {', '.join(known)}.")
        complete = known | dict(options)
        step = complete.get("step", 1)
        if not MIN_STEP <= step <= 1:
            raise VolumeError(f"The tiles' step is {step} and must be at least {MIN_STEP} and at most 1: 0.5 is usual.")
        return complete

    def check(self, manifest: Manifest, options: Mapping[str, Any]) -> None:
        """Refuse options that a model does not allow.

        Raises:
            ModelError: naming the model and the option.
        """

    @abstractmethod
    def need(self, sizes: RunSizes, patch: Shape, device: torch.device, options: Mapping[str, Any]) -> MemoryNeed:
        """Return what a run needs of memory with a patch (z, y, x) on a device."""

    @abstractmethod
    def run(self, prepared: Prepared, context: RunContext) -> Any:
        """Run the network on a prepared volume; return what `result` takes.

        It may be called again, with less memory, where memory ran out.
        """

    @abstractmethod
    def result(self, found: Any, context: RunContext, provenance: Provenance) -> R:
        """Return the result of what `run` found."""

    def recorded(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that the provenance states."""
        names = [option.name for option in self.options if option.recorded]
        return {name: options[name] for name in names if options[name] is not None}

    # --- between processes -------------------------------------------------------------------------------------------

    @abstractmethod
    def pack(self, result: R, write: Callable[[Volume, str], dict[str, Any]]) -> dict[str, Any]:
        """Return a result, without its provenance, as JSON can hold it.

        Args:
            write: hands over a volume under a name; returns what JSON keeps of it.
        """

    @abstractmethod
    def unpack(
        self, message: dict[str, Any], provenance: Provenance, read: Callable[[dict[str, Any] | None], Volume | None]
    ) -> R:
        """Return the result that `pack` packed.

        Args:
            read: from what `write` returned to the volume; from None to None.
        """

    # --- for people --------------------------------------------------------------------------------------------------

    @abstractmethod
    def describe(self, result: R) -> tuple[bool, str]:
        """Return whether anything was found, and what, in a few words."""

    @abstractmethod
    def table(self, result: R) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows of a table of the result."""

    @abstractmethod
    def report(self, result: R) -> dict[str, Any]:
        """Return what programs read of the result, as JSON can hold it, beside its provenance."""

    @abstractmethod
    def columns(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a table with a row a case has of a report, by column."""

    def doubt(self, report: Mapping[str, Any]) -> float | None:
        """Return how doubtful a report's result is, 0 (certain) to 1, to sort cases by; None where nothing tells."""
        return None

    def thumbnail(self, result: R, volume: Volume) -> np.ndarray:
        """Return a small picture of a result over (the first channel of) its volume, (row, column, RGB) of uint8."""
        from NNMambaLib.export.thumbnail import volume_thumbnail

        return volume_thumbnail(volume)

    def check_files(self, files: Mapping[str, str], options: Mapping[str, Any]) -> None:
        """Refuse files, by their options' names, that `write` could not write.

        Raises:
            OutputError: naming the file and the remedy.
        """
        for kind in self.files:
            path = files.get(kind.name)
            if path and not path.lower().endswith(kind.endings):
                raise OutputError(f"{path} has an ending that cannot be written: end it in {', '.join(kind.endings)}.")

    @abstractmethod
    def write(self, result: R, files: Mapping[str, str | Path], volume: Volume) -> tuple[str, ...]:
        """Write files, by their options' names, all or none; return notices on how they differ from the result.

        Args:
            volume: the first of those that the result is of.

        Raises:
            OutputError: if one cannot be written.
        """

    @abstractmethod
    def evaluate(self, prediction: str, reference: str, tolerance: float, label_names: Mapping[int, str]) -> Report:
        """Compare what the command wrote for several cases with references; see `evaluation.report`."""

    # --- packages with random weights --------------------------------------------------------------------------------

    @abstractmethod
    def random_sections(self, outputs: int) -> dict[str, Any]:
        """Return the fields of a `Manifest` that say what a network's outputs are, with made-up names."""
