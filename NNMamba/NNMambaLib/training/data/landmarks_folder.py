"""Reading a folder of volumes, each with a Slicer markups file of the same name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.cases import case_files
from NNMambaLib.export.markups_file import read_markups
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.subjects import read_subjects
from NNMambaLib.volumes.files import READABLE

_MARKUPS = ".mrk.json"


@dataclass(frozen=True)
class LandmarksFolder:
    """Cases whose reference is a markups file, and the landmarks' names in the order of the first file."""

    cases: tuple[Case, ...]
    landmarks: tuple[str, ...]


def read_landmarks_folder(folder: Path) -> LandmarksFolder:
    """Return what is in a folder; no volume is opened.

    Raises:
        VolumeError: if there are no cases, a volume lacks its markups or markups their volume, a markups file cannot
            be read, or two have different landmarks.
    """
    volumes = case_files(folder, READABLE)
    markups = case_files(folder, [_MARKUPS])
    for case, path in volumes.items():
        if case not in markups:
            raise VolumeError(
                f"{path.with_name(case + _MARKUPS)} is missing: the volume {path.name} lacks its markups."
            )
    for case, path in markups.items():
        if case not in volumes:
            raise VolumeError(f"{path} has no volume of the same name: add or remove one.")
    names, source = None, None
    for path in markups.values():
        found = tuple(read_markups(path))
        if not found:
            raise VolumeError(f"{path} has no points: place the landmarks, or leave them undefined.")
        names, source = (found, path) if names is None else (names, source)
        if set(found) != set(names):
            odd = sorted(set(found) ^ set(names))[0]
            raise VolumeError(
                f"{path} and {source.name} have different landmarks, such as '{odd}': name all in each file, and leave "
                "undefined what is not visible."
            )
    subjects = read_subjects(folder, volumes)
    cases = tuple(Case(case, subjects[case], (volumes[case],), markups[case]) for case in volumes)
    return LandmarksFolder(cases, names)
