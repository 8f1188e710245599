"""dataset.json of a training folder in nnU-Net's form."""

from __future__ import annotations

import json
from pathlib import Path

from NNMambaLib.training.data.nnunet_folder import read_segmentation_folder


def seeds(folder: Path) -> None:
    """Write a folder of two cases; no reader opens their volumes yet."""
    content = {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, "body": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (folder / "0" / "imagesTr").mkdir(parents=True)
    (folder / "0" / "labelsTr").mkdir()
    (folder / "0" / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    for case in ("a", "b"):
        (folder / "0" / "imagesTr" / f"{case}_0000.nii.gz").touch()
        (folder / "0" / "labelsTr" / f"{case}.nii.gz").touch()


def changeable(name: str) -> bool:
    """Return whether this file is to be changed."""
    return name == "dataset.json"


def feed(folder: Path) -> None:
    """Read the folder's cases."""
    read_segmentation_folder(folder)
