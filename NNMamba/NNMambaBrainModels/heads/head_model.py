"""HeadModel: what the generator knows of one head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.files import atomic_file

TEXTURES_PER_CLASS = 3
_CHANNEL_PREFIX = "intensity_"


@dataclass(frozen=True)
class HeadModel:
    """Label map of one head at 1 mm, with the volumes acquired of it, if any.

    Arrays have axes (z, y, x), index increasing towards Superior, Anterior and Right.

    classes: uint8, GeneratorClass of every voxel.
    textures: uint8 below TEXTURES_PER_CLASS; divides skull, soft tissue and surroundings by brightness, 0 elsewhere.
    intensities: contrast name ("T1w", ...) -> float16 array, 0 to 1.
    left: bool, true in the paired structures of the patient's left side; None where sides were not told apart.
    subject: whom the anatomy belongs to; splits between training and evaluation go by it.
    """

    name: str
    subject: str
    classes: np.ndarray
    textures: np.ndarray
    intensities: dict[str, np.ndarray] = field(default_factory=dict)
    left: np.ndarray | None = None

    def save(self, path: Path) -> None:
        """Write to an .npz file."""
        content: dict[str, Any] = {
            "name": self.name,
            "person": self.subject,
            "classes": self.classes,
            "textures": self.textures,
        }
        if self.left is not None:
            content["left"] = self.left
        content |= {_CHANNEL_PREFIX + name: array for name, array in self.intensities.items()}
        with atomic_file(path) as temporary:
            np.savez_compressed(temporary, **content)

    @classmethod
    def load(cls, path: Path) -> "HeadModel":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as content:
            channels = {
                key.removeprefix(_CHANNEL_PREFIX): content[key]
                for key in content.files
                if key.startswith(_CHANNEL_PREFIX)
            }
            return cls(
                name=str(content["name"]),
                subject=str(content["person"]),
                classes=content["classes"],
                textures=content["textures"],
                intensities=channels,
                left=content.get("left"),
            )


def load_heads(folder: Path, weights: Mapping[str, float]) -> list[tuple[HeadModel, float]]:
    """Return the head models of `folder` with their weights, for `HeadDataset`.

    weights: by name, or by a pattern such as ``atlas-*``, whose weight is shared by all that match it.

    Raises:
        FileNotFoundError: if a name or pattern has no head model.
    """
    heads = []
    for pattern, weight in weights.items():
        paths = sorted(folder.glob(f"{pattern}.npz"))
        if not paths:
            raise FileNotFoundError(f"No head model {pattern}.npz is in {folder}: run label_maps and abagen_heads.")
        heads += [(HeadModel.load(path), weight / len(paths)) for path in paths]
    return heads
