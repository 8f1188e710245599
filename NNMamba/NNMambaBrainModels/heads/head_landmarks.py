"""Where the landmarks lie in a head model."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaBrainModels.heads.fetch_data import source_path
from NNMambaBrainModels.heads.head_model import HeadModel
from NNMambaBrainModels.heads.label_maps import read_ras
from NNMambaBrainModels.heads.landmark_set import CENTROIDS, FIDUCIALS, LANDMARKS
from NNMambaBrainModels.heads.structure_labels import encode, label_table
from NNMambaLib.volumes.volume import LPS_TO_RAS


@dataclass(frozen=True)
class LandmarkedHead:
    """A head model and the voxel index (z, y, x) of each landmark, float64 (K, 3); NaN where unknown."""

    head: HeadModel
    landmarks: np.ndarray


def landmarked(head: HeadModel, fiducials: np.ndarray | None = None) -> LandmarkedHead:
    """Return the head with its centroids, and with the fiducials (20, 3), voxel index (z, y, x), where given."""
    positions = np.full((len(LANDMARKS), 3), np.nan)
    if fiducials is not None:
        positions[: len(FIDUCIALS)] = fiducials
    labels = label_table()[encode(head.classes, head.left)]
    for number, label in enumerate(CENTROIDS, start=len(FIDUCIALS)):
        voxels = np.argwhere(labels == label)
        if len(voxels):
            positions[number] = voxels.mean(axis=0)
    return LandmarkedHead(head, positions)


def read_fiducials(sources: Path) -> np.ndarray:
    """Return AFIDs 1 to 20 of the MNI152 2009c average in RAS mm, (20, 3)."""
    with source_path(sources, "09c-afids").open(encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if not row[0].startswith("#")]
    by_number = {int(row[11]): [float(value) for value in row[1:4]] for row in rows}
    return np.array([by_number[number] for number in range(1, len(FIDUCIALS) + 1)])


def fiducial_indices(sources: Path) -> np.ndarray:
    """Return AFIDs 1 to 20 as voxel indices (z, y, x) of the head model `09c`, (20, 3)."""
    image = read_ras(source_path(sources, "09c-T1w"))
    lps = read_fiducials(sources) @ LPS_TO_RAS[:3, :3]
    return np.array([image.TransformPhysicalPointToContinuousIndex(point)[::-1] for point in lps.tolist()])
