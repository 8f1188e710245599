"""Reading a folder of volumes, each with a Slicer markups file of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.cases import case_files
from NNMambaLib.export.markups_file import read_markups
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.faults import Faults
from NNMambaLib.training.data.subjects import read_subjects
from NNMambaLib.volumes.files import READABLE
from NNMambaLib.volumes.volume import Position

_MARKUPS = ".mrk.json"


@dataclass(frozen=True)
class Markups:
    """A markups file and what it says: LPS positions in mm by landmark, None where undefined."""

    path: Path
    positions: Mapping[str, Position | None]


@dataclass(frozen=True)
class LandmarksFolder:
    """Cases whose reference is `Markups`, and the landmarks' names in the order of the first file."""

    cases: tuple[Case, ...]
    landmarks: tuple[str, ...]


def read_landmarks_folder(folder: Path) -> LandmarksFolder:
    """Return the cases of a folder; no volume is opened.

    Raises:
        VolumeError: if there are no cases, a volume lacks its markups or markups their volume, a markups file cannot
            be read, or two have different landmarks.
    """
    volumes = case_files(folder, READABLE)
    files = case_files(folder, [_MARKUPS])
    faults = Faults()
    for case, path in volumes.items():
        if case not in files:
            faults.add(f"{path.with_name(case + _MARKUPS)} is missing: the volume {path.name} lacks its markups.")
    for case, path in files.items():
        if case not in volumes:
            faults.add(f"{path} has no volume of the same name: add or remove one.")
    markups: dict[str, Markups] = {}
    for case, path in files.items():
        with faults.noting():
            markups[case] = Markups(path, read_markups(path))
            _check_names(markups[case], next(iter(markups.values())))
    faults.refuse()
    first = next(iter(markups.values()))
    subjects = read_subjects(folder, volumes)
    cases = tuple(Case(case, subjects[case], (volumes[case],), markups[case]) for case in volumes)
    return LandmarksFolder(cases, tuple(first.positions))


def _check_names(markups: Markups, first: Markups) -> None:
    if not markups.positions:
        raise VolumeError(f"{markups.path} has no points: place the landmarks, or leave them undefined.")
    odd = sorted(set(markups.positions) ^ set(first.positions))
    if odd:
        raise VolumeError(
            f"{markups.path} and {first.path.name} have different landmarks, such as '{odd[0]}': name all in each "
            "file, and leave undefined what is not visible."
        )
