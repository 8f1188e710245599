"""The landmarks of the `brain-landmarks` model: twenty anatomical fiducials and the centroids of six deep nuclei.

The fiducials are numbers 1 to 20 of the AFIDs protocol (Lau et al., Human Brain Mapping 2019): its names, and its
definitions in our words.
"""

from __future__ import annotations

from NNMambaBrainModels.heads.structure_labels import PAIRED, StructureLabel
from NNMambaLib.models.manifest import LandmarkDefinition

_MIDLINE = "in the midsagittal plane"
_SIDES = {"R": "right", "L": "left"}


def _paired(name: str, definition: str) -> tuple[LandmarkDefinition, LandmarkDefinition]:
    right, left = (LandmarkDefinition(f"{s} {name}", f"{definition}, on the {side}.") for s, side in _SIDES.items())
    return right, left


FIDUCIALS: tuple[LandmarkDefinition, ...] = (
    LandmarkDefinition("AC", f"Anterior commissure: its centre {_MIDLINE}."),
    LandmarkDefinition("PC", f"Posterior commissure: its centre {_MIDLINE}."),
    LandmarkDefinition(
        "infracollicular sulcus", f"Lower end of the groove between the inferior colliculi, {_MIDLINE}."
    ),
    LandmarkDefinition("PMJ", f"Pontomesencephalic junction: where pons and midbrain meet, pontine side, {_MIDLINE}."),
    LandmarkDefinition("superior interpeduncular fossa", f"Highest point between the cerebral peduncles, {_MIDLINE}."),
    *_paired("superior LMS", "Upper end of the lateral mesencephalic sulcus, where brain meets fluid"),
    *_paired("inferior LMS", "Lateral mesencephalic sulcus where midbrain and pons meet"),
    LandmarkDefinition("culmen", f"Highest point of the cerebellar vermis, {_MIDLINE}."),
    LandmarkDefinition("intermammillary sulcus", f"Midpoint between the mammillary bodies, {_MIDLINE}."),
    *_paired("MB", "Mammillary body: its centre"),
    LandmarkDefinition("pineal gland", f"Pineal gland: its centre {_MIDLINE}."),
    *_paired("LV at AC", "Lateral edge of the lateral ventricle in the coronal plane of AC"),
    *_paired("LV at PC", "Lateral edge of the lateral ventricle in the coronal plane of PC"),
    LandmarkDefinition("genu of CC", f"Most anterior point of the corpus callosum, {_MIDLINE}."),
    LandmarkDefinition("splenium of CC", f"Lowest point of the splenium of the corpus callosum, {_MIDLINE}."),
)
# The structures whose centroids are the other landmarks.
CENTROIDS: tuple[StructureLabel, ...] = tuple(
    StructureLabel(left + right) for left in PAIRED.values() for right in (0, 1)
)


_CENTROID_LANDMARKS = tuple(
    LandmarkDefinition(
        f"{label.name[0]} {label.name.split('_')[1].lower()} centroid",
        f"Mean position of the {' '.join(label.name.lower().split('_'))}'s voxels.",
    )
    for label in CENTROIDS
)
LANDMARKS: tuple[LandmarkDefinition, ...] = FIDUCIALS + _CENTROID_LANDMARKS


def mirrored_order() -> list[int]:
    """Return, for each landmark, the number of the one whose place it takes in a mirrored head."""
    swap = {"R": "L", "L": "R"}
    names = [landmark.name for landmark in LANDMARKS]
    partners = [" ".join([swap.get(word, word) for word in name.split()]) for name in names]
    return [names.index(partner) for partner in partners]
