"""Pairing the files of predictions with those of references, by case."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from NNMambaLib.errors import VolumeError
from NNMambaLib.file_names import check_name
from NNMambaLib.plain_files import MAX_JSON_BYTES, MAX_TABLE_BYTES, read_text
from NNMambaLib.strict_json import parse_json
from NNMambaLib.volumes.files import READABLE

_LABELS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nii", ".mha")
_MARKUPS = (".mrk.json",)
_PREDICTIONS = (".json",)
# Of files that a table may name in place of their cases.
_ENDINGS = (*READABLE, *_LABELS, *_MARKUPS, *_PREDICTIONS)
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
# Cells of a table, those included that short rows leave out: ten thousand cases with a hundred columns.
_MAX_CELLS = 1_000_000


def paired_cases(prediction: str | Path, reference: str | Path, suffixes=_LABELS) -> dict[str, tuple[Path, Path]]:
    """Return {case: (prediction's file, reference's file)}; a case is a file's name without its ending.

    Raises:
        VolumeError: if a folder is missing, holds a case twice, or the two do not hold the same cases.
    """
    ours, theirs = case_files(prediction, suffixes), case_files(reference, suffixes)
    _require_same(set(ours), set(theirs), prediction, reference)
    return {case: (ours[case], theirs[case]) for case in sorted(ours)}


def paired_markups(prediction: str | Path, reference: str | Path) -> dict[str, tuple[Path, Path]]:
    """Return the pairs of markups files (``.mrk.json``) of two folders, see `paired_cases`."""
    return paired_cases(prediction, reference, _MARKUPS)


def paired_classes(prediction: str | Path, reference: str | Path) -> dict[str, tuple[dict, dict[str, str]]]:
    """Return {case: (what ``nnmamba classify`` wrote, the reference's row)}.

    Args:
        reference: a CSV file with a column ``case`` and a column for each target, or ``class``; or a folder with one.

    Raises:
        VolumeError: if something is missing, a JSON file of the folder holds no predictions, two files have different
            targets or classes, or the two sides do not hold the same cases.
    """
    ours = case_files(prediction, _PREDICTIONS)
    answers = {case: _predictions(path) for case, path in ours.items()}
    rows = case_rows(_table(Path(reference)))
    refuse_file_names(rows, ours, Path(reference))
    _require_same(set(ours), set(rows), prediction, reference)
    first = min(answers)
    for case in answers:
        if _questions(answers[case]) != _questions(answers[first]):
            raise VolumeError(
                f"{ours[case]} has other targets or classes than {ours[first]}: give the predictions of one model."
            )
    return {case: (answers[case], rows[case]) for case in sorted(answers)}


def _predictions(path: Path) -> dict:
    text = read_text(path, MAX_JSON_BYTES)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise VolumeError(f"{path} is not valid JSON ({error}): write it again with nnmamba classify.") from error
    answers = content.get("predictions") if isinstance(content, dict) else None
    if not isinstance(answers, list) or not answers or not all(_is_answer(answer) for answer in answers):
        raise VolumeError(f"{path} holds no predictions of nnmamba classify: move it out of the folder.")
    return content


def _is_answer(answer: object) -> bool:
    """Tell whether this holds a target's name, its classes' probabilities and one of these classes as predicted."""
    if not isinstance(answer, dict) or not isinstance(answer.get("target"), str):
        return False
    probabilities = answer.get("probabilities")
    return (
        isinstance(probabilities, dict)
        and all(isinstance(p, (int, float)) and 0 <= p <= 1 for p in probabilities.values())
        and answer.get("predicted") in list(probabilities)
    )


def _questions(content: dict) -> list[tuple[str, list[str]]]:
    return [(answer["target"], list(answer["probabilities"])) for answer in content["predictions"]]


def _table(path: Path) -> Path:
    files = [path] if path.is_file() else sorted(file for file in path.glob("*.csv") if not file.name.startswith("._"))
    if len(files) != 1:
        raise VolumeError(f"{path} holds {len(files)} CSV files where one is needed: give the file itself.")
    return files[0]


def case_rows(path: Path) -> dict[str, dict[str, str]]:
    """Return {case: the row's other columns} of a CSV file with a column ``case``.

    Raises:
        VolumeError: if it cannot be opened, lacks that column or has a column twice, has a row that is longer than the
            first or names no case, or has two rows for a case.
    """
    columns, rows = _columns_and_rows(path)
    _refuse_other_separators(columns, path)
    if not rows or "case" not in columns:
        raise VolumeError(f"{path} lacks the column 'case' or has no rows: name the columns in its first line.")
    table = {}
    for number, cells in rows:
        row = dict(zip(columns, cells, strict=True))
        case = row.pop("case")
        if not case:
            raise VolumeError(f"{path} names no case in line {number}: name it, or remove the line.")
        if case in table:
            raise VolumeError(f"{path} has two rows for the case '{case}': remove one.")
        table[case] = row
    return table


def refuse_file_names(rows: Iterable[str], cases: Container[str], path: Path) -> None:
    """Refuse a table that names a case's file where it should name the case.

    Args:
        rows: the names of the table's cases.
        cases: those that there are.

    Raises:
        VolumeError: naming both.
    """
    for row in rows:
        case = next((row.removesuffix(ending) for ending in _ENDINGS if row.endswith(ending)), row)
        if row not in cases and case in cases:
            raise VolumeError(f"{path} names the file '{row}' as a case: write '{case}', without the file's ending.")


def _refuse_other_separators(columns: list[str], path: Path) -> None:
    for separator, name in _OTHER_SEPARATORS.items():
        if "case" in (part.strip(' "') for part in ",".join(columns).split(separator)) and "case" not in columns:
            raise VolumeError(f"{path} separates its columns by {name}: save it as CSV with commas.")


def _columns_and_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return a CSV file's columns and its rows, each with its line's number, without blanks and empty rows."""
    reader = csv.reader(io.StringIO(read_text(path, MAX_TABLE_BYTES), newline=""), skipinitialspace=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise VolumeError(f"{path} is not a table ({error}): save it again as CSV.") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        return [], []
    columns = lines[0][1]
    while not columns[-1]:
        columns.pop()
    if len(columns) * len(lines) > _MAX_CELLS:
        raise VolumeError(
            f"{path} has {len(lines):,} rows of {len(columns):,} columns, more than {_MAX_CELLS:,} cells: leave out "
            "columns that are not needed, or split it."
        )
    seen: set[str] = set()
    for column in columns:
        if not column or column in seen:
            raise VolumeError(f"{path} has no name for a column, or {column[:40]!a} for two: name each differently.")
        seen.add(column)
    rows = []
    for number, cells in lines[1:]:
        if any(cells[len(columns) :]):
            raise VolumeError(f"{path} has more cells in line {number} than columns: quote cells that hold a comma.")
        rows.append((number, (cells + [""] * len(columns))[: len(columns)]))
    return columns, rows


def case_files(folder: str | Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return {case: file} of a folder's files with one of the endings; a case is a file's name without it.

    Raises:
        VolumeError: if the folder is missing, empty, or holds a case twice, or a name is not UTF-8.
    """
    check_name(folder, VolumeError)
    if not Path(folder).is_dir():
        raise VolumeError(f"There is no folder {folder}: check the path.")
    found = {}
    for path in sorted(Path(folder).iterdir()):
        suffix = next((suffix for suffix in suffixes if path.name.endswith(suffix)), None)
        # Archives made on macOS leave "._NAME" beside every file.
        if suffix is None or path.name.startswith("._") or not path.is_file():
            continue
        check_name(path, VolumeError)
        case = path.name.removesuffix(suffix)
        if case in found:
            raise VolumeError(
                f"The folder {folder} holds the case {case} twice, as {found[case].name} and {path.name}: remove one."
            )
        found[case] = path
    if not found:
        raise VolumeError(f"The folder {folder} holds no files that end in {', '.join(suffixes)}: check the path.")
    return found


def _require_same(ours: set[str], theirs: set[str], prediction, reference) -> None:
    for missing, folder in ((theirs - ours, prediction), (ours - theirs, reference)):
        if missing:
            raise VolumeError(
                f"{folder} lacks {len(missing)} cases, first {min(missing)}: give the same cases on both sides."
            )
