"""Whether the cases show all that is to be learnt: a label that none of them has would be trained in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.runtime.units import format_names
from NNMambaLib.training.data.structures import Structure
from NNMambaLib.training.data.subjects import Split

# A kind of what is learnt, such as the labels, and one of its names.
Item = tuple[str, str]
# A kind of names of which every case has all.
CHANNELS = "channels"


@dataclass(frozen=True)
class Shown:
    """What a case shows.

    Attributes:
        items: of what is learnt, those that the case has.
        voxels: (z, y, x), whether a voxel shows something; None where the reference does not tell.
        structures: of a segmentation, what its labels measure.
    """

    items: tuple[Item, ...]
    voxels: np.ndarray | None = None
    structures: tuple[Structure, ...] = ()


def coverage_notices(
    names: Mapping[str, Sequence[str]], shown: Mapping[str, Iterable[Item]], split: Split
) -> list[str]:
    """Return notices on what no case shows, and on what no validation case shows.

    Args:
        names: all that is to be learnt, by kind.
        shown: what each case shows, by the case's name.

    Raises:
        VolumeError: if the cases show nothing of a kind.
    """
    anywhere = {item for items in shown.values() for item in items}
    validated = {item for case in split.validation for item in shown[case]}
    notices = []
    for kind, wanted in names.items():
        if kind == CHANNELS:
            continue
        missing = [name for name in wanted if (kind, name) not in anywhere]
        if len(missing) == len(wanted):
            raise VolumeError(f"Of the {kind} ({format_names(missing)}) no case shows any: complete the references.")
        if missing:
            notices.append(f"of the {kind}, no case shows {format_names(missing)}: that cannot be learnt")
        unseen = [name for name in wanted if (kind, name) in anywhere - validated]
        if unseen and split.validation:
            notices.append(f"of the {kind}, no validation case shows {format_names(unseen)}: that is not measured")
    return notices
