"""Series of DICOM slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.dicom_files import save, slice_dataset
from NNMambaLib.volumes.files import read_volume


def seeds(folder: Path) -> None:
    """Write a series of MR and one of CT, which is rescaled."""
    for name, modality, rescale in (("mr", "MR", None), ("ct", "CT", (1, -1024))):
        (folder / name).mkdir()
        for number, plane in enumerate(np.arange(3 * 6 * 7, dtype=np.int16).reshape(3, 6, 7)):
            data = slice_dataset(plane, (10, 20, -30 + 2 * number), modality=modality, rescale=rescale)
            # Not random: a seed is the same in every run.
            data.SOPInstanceUID = f"1.2.826.0.1.3680043.2.1125.{number + 1}"
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
            save(data, folder / name / f"IM{number:04d}.dcm")


def feed(folder: Path) -> None:
    """Read the series."""
    read_volume(folder)
