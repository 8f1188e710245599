"""Pairing the files of predictions with those of references, by case."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.landmarks import Position

_LABELS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nii", ".mha")
_MARKUPS = (".mrk.json",)
_PREDICTIONS = (".json",)
_FLIP = {"LPS": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0)}


def paired_cases(prediction: str | Path, reference: str | Path, suffixes=_LABELS) -> dict[str, tuple[Path, Path]]:
    """Return {case: (prediction's file, reference's file)}, a case being a file's name without its ending.

    Raises:
        VolumeError: if a folder is missing or the two do not hold the same cases.
    """
    ours, theirs = _cases(prediction, suffixes), _cases(reference, suffixes)
    _require_same(set(ours), set(theirs), prediction, reference)
    return {case: (ours[case], theirs[case]) for case in sorted(ours)}


def paired_markups(prediction: str | Path, reference: str | Path) -> dict[str, tuple[Path, Path]]:
    """Return as `paired_cases` does the files of markups (``.mrk.json``)."""
    return paired_cases(prediction, reference, _MARKUPS)


def read_markups(path: Path) -> dict[str, Position]:
    """Return {name: LPS position in mm, or None where it is undefined} of a markups file.

    Raises:
        VolumeError: if it is no markups file.
    """
    try:
        markup = json.loads(path.read_text(encoding="utf-8"))["markups"][0]
        signs = _FLIP[markup.get("coordinateSystem", "LPS")]
        return {
            point["label"]: tuple(sign * value for sign, value in zip(signs, point["position"], strict=True))
            if point.get("positionStatus", "defined") == "defined"
            else None
            for point in markup["controlPoints"]
        }
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise VolumeError(f"{path} is no Slicer markups file ({error}): save it again as .mrk.json.") from error


def paired_classes(prediction: str | Path, reference: str | Path) -> dict[str, tuple[dict, dict[str, str]]]:
    """Return {case: (what ``nnmamba classify`` wrote, the reference's row)}.

    Args:
        reference: a CSV file with a column ``case`` and a column for each target, or ``class``; or a folder with one.

    Raises:
        VolumeError: if something is missing or the two do not hold the same cases.
    """
    ours = _cases(prediction, _PREDICTIONS)
    rows = _reference_rows(Path(reference))
    _require_same(set(ours), set(rows), prediction, reference)
    return {case: (_json(ours[case]), rows[case]) for case in sorted(ours)}


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VolumeError(f"{path} is not valid JSON ({error}): write it again with nnmamba classify.") from error


def _reference_rows(path: Path) -> dict[str, dict[str, str]]:
    files = [path] if path.is_file() else sorted(path.glob("*.csv"))
    if len(files) != 1:
        raise VolumeError(f"{path} holds {len(files)} CSV files where one is needed: give the file itself.")
    with files[0].open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    if not rows or "case" not in rows[0]:
        raise VolumeError(f"{files[0]} lacks the column 'case' or has no rows: name the columns in its first line.")
    return {row.pop("case"): row for row in rows}


def _cases(folder: str | Path, suffixes) -> dict[str, Path]:
    if not Path(folder).is_dir():
        raise VolumeError(f"There is no folder {folder}: check the path.")
    found = {}
    for path in sorted(Path(folder).iterdir()):
        suffix = next((suffix for suffix in suffixes if path.name.endswith(suffix)), None)
        if suffix is not None:
            found[path.name.removesuffix(suffix)] = path
    if not found:
        raise VolumeError(f"The folder {folder} holds no files that end in {', '.join(suffixes)}: check the path.")
    return found


def _require_same(ours: set[str], theirs: set[str], prediction, reference) -> None:
    for missing, folder in ((theirs - ours, prediction), (ours - theirs, reference)):
        if missing:
            raise VolumeError(
                f"{folder} lacks {len(missing)} cases, first {min(missing)}: give the same cases on both sides."
            )
