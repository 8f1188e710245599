"""One case of a data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.volume import Volume


@dataclass(frozen=True)
class Case:
    """A volume's files, one a channel, and its reference.

    Attributes:
        subject: whom the volume shows; the split into training and validation goes by it.
        reference: by task: the file of the labels, the `Markups`, or the class index of each target (-1: unknown).
    """

    name: str
    subject: str
    channels: tuple[Path, ...]
    reference: Any


def read_case(case: Case) -> Volume:
    """Return a case's channels as one volume.

    Raises:
        VolumeError: if a file cannot be read, or channels lie on different grids.
    """
    volumes = [read_volume(path) for path in case.channels]
    first = volumes[0]
    for path, volume in zip(case.channels, volumes, strict=True):
        if len(volumes) > 1 and volume.channels > 1:
            raise VolumeError(f"{path} has {volume.channels} channels where a channel's file has one: split it.")
        if not volume.grid.matches(first.grid):
            raise VolumeError(
                f"{path} lies on another grid than {case.channels[0].name}: bring a case's channels to one grid."
            )
    array = first.array if len(volumes) == 1 else np.concatenate([volume.array for volume in volumes])
    return Volume(array, first.matrix, first.name)
