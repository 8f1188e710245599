"""Reading the raw data folder of nnU-Net v2: ``dataset.json``, ``imagesTr`` and ``labelsTr``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.cases import case_files
from NNMambaLib.models.limits import MAX_CHANNELS, MAX_OUTPUTS
from NNMambaLib.plain_files import MAX_JSON_BYTES, read_text
from NNMambaLib.strict_json import parse_json
from NNMambaLib.training.data.case import Case
from NNMambaLib.training.data.faults import Faults
from NNMambaLib.training.data.subjects import read_subjects
from NNMambaLib.volumes.files import READABLE


@dataclass(frozen=True)
class SegmentationFolder:
    """Cases whose reference is a label file, with the names of the channels and of the labels 1, 2, ..."""

    cases: tuple[Case, ...]
    channels: tuple[str, ...]
    labels: tuple[str, ...]


def read_segmentation_folder(folder: Path) -> SegmentationFolder:
    """Return the cases of a folder, by its files' names; no volume is opened.

    Raises:
        VolumeError: if ``dataset.json`` is missing or has another form, a case lacks a channel or its label, or there
            are no cases.
    """
    source = folder / "dataset.json"
    if not folder.is_dir():
        raise VolumeError(f"There is no folder {folder}: check the path.")
    if not source.is_file():
        raise VolumeError(f"{source} is missing: give a raw data folder of nnU-Net v2.")
    content = _content(source)
    channels, labels, ending = _channels(content, source), _labels(content, source), content["file_ending"]
    first = case_files(folder / "imagesTr", [f"_{0:04d}{ending}"])
    label_files = case_files(folder / "labelsTr", [ending])
    faults = Faults()
    for case in label_files:
        if case not in first:
            faults.add(f"{label_files[case]} has no volume {case}_0000{ending} in imagesTr: add or remove one.")
    for case in first:
        for number, path in enumerate(_channel_files(folder, case, ending, len(channels))):
            if not path.is_file():
                faults.add(f"{path} is missing: the case {case} lacks the channel {channels[number]}.")
        if case not in label_files:
            faults.add(f"{folder / 'labelsTr' / f'{case}{ending}'} is missing: the case {case} lacks its label.")
    faults.refuse()
    _check_counts(content, source, len(first), len(channels))
    subjects = read_subjects(folder, first)
    cases = []
    for case in first:
        files = _channel_files(folder, case, ending, len(channels))
        cases.append(Case(case, subjects[case], files, label_files[case]))
    return SegmentationFolder(tuple(cases), channels, labels)


def _channel_files(folder: Path, case: str, ending: str, channels: int) -> tuple[Path, ...]:
    return tuple(folder / "imagesTr" / f"{case}_{number:04d}{ending}" for number in range(channels))


def _content(source: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_text(source, MAX_JSON_BYTES))
    except ValueError as error:
        raise VolumeError(f"{source} is not valid JSON ({error}): correct it.") from error
    if isinstance(content, dict) and "modality" in content and "channel_names" not in content:
        raise VolumeError(
            f"{source} is of version 1 of nnU-Net ('modality'): convert the folder to version 2, with nnU-Net's "
            "nnUNetv2_convert_old_nnUNet_dataset."
        )
    kinds = {"channel_names": dict, "labels": dict, "file_ending": str}
    for key, kind in kinds.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind) or not content[key]:
            raise VolumeError(f"{source} lacks '{key}' or has it in another form than nnU-Net v2: correct it.")
    if content["file_ending"] not in READABLE:
        raise VolumeError(
            f"{source} has the file_ending {content['file_ending'][:40]!a}: give volumes that end in "
            f"{', '.join(READABLE)}."
        )
    if "dataset" in content:
        raise VolumeError(f"{source} lists its files by 'dataset', which is not supported: use imagesTr and labelsTr.")
    return content


def _check_counts(content: dict[str, Any], source: Path, cases: int, channels: int) -> None:
    """Refuse a folder with files that ``dataset.json`` does not declare, or without those that it does."""
    stated = content.get("numTraining", cases)
    if stated != cases:
        raise VolumeError(
            f"{source} states {json.dumps(stated)[:40]} cases (numTraining) and imagesTr has {cases}: correct the "
            "number, or complete the folder."
        )
    images = source.parent / "imagesTr"
    numbered = re.compile(rf"(?!\._).+_(\d{{4}}){re.escape(content['file_ending'])}")
    matches = (numbered.fullmatch(path.name) for path in images.iterdir())
    undeclared = sorted(match.group() for match in matches if match and int(match.group(1)) >= channels)
    if undeclared:
        raise VolumeError(
            f"{images / undeclared[0]} is of a channel that {source.name} does not declare (channel_names has "
            f"{channels}): declare it, or remove its files."
        )


def _channels(content: dict[str, Any], source: Path) -> tuple[str, ...]:
    names = content["channel_names"]
    if len(names) > MAX_CHANNELS:
        raise VolumeError(
            f"{source} has {len(names):,} channel_names, and at most {MAX_CHANNELS} are read: remove some."
        )
    if sorted(names) != sorted(str(number) for number in range(len(names))):
        raise VolumeError(f"{source} has channel_names that do not count 0, 1, 2, ...: correct it.")
    ordered = [str(names[str(number)]) for number in range(len(names))]
    # A channel is known by its name in the model package, so names must differ.
    return tuple(
        name if name and ordered.count(name) == 1 else f"{name or 'channel'} {number}"
        for number, name in enumerate(ordered)
    )


def _labels(content: dict[str, Any], source: Path) -> tuple[str, ...]:
    labels = content["labels"]
    if len(labels) > MAX_OUTPUTS:
        raise VolumeError(f"{source} has {len(labels):,} labels, and at most {MAX_OUTPUTS:,} are read: join some.")
    for name, value in labels.items():
        if name == "ignore" or not isinstance(value, int) or isinstance(value, bool):
            raise VolumeError(
                f"{source} has the label '{name}' {json.dumps(value)}: regions of several labels and 'ignore' are not "
                "supported, give each label one number."
            )
    if sorted(labels.values()) != list(range(len(labels))) or len(labels) < 2:
        raise VolumeError(f"{source} has label values that do not count 0 (background), 1, 2, ...: renumber them.")
    return tuple(sorted((name for name in labels if labels[name]), key=labels.get))
