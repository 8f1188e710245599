"""Names, codes and colours of segments as Slicer has them, for scenes and files alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from NNMambaLib.models.manifest import Code, Label, Terminology

# Slicer's own vocabularies, in which its terminology selector looks an entry up.
CATEGORY_CONTEXT = "Segmentation category and type - DICOM master list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
TERMINOLOGY_TAG = "TerminologyEntry"


def segment_ids(labels: Sequence[Label]) -> tuple[str, ...]:
    """Return an identifier for each label, the same in every run and version, so that scripts may rely on it.

    It is made from the label's name; the value is added where two would be the same.
    """
    ids = [re.sub(r"[^0-9a-z]+", "_", label.name.lower()).strip("_") or "segment" for label in labels]
    return tuple(
        identifier if ids.count(identifier) == 1 else f"{identifier}_{label.value}"
        for identifier, label in zip(ids, labels, strict=True)
    )


def terminology_entry(terminology: Terminology) -> str:
    """Return a terminology in the text form that Slicer keeps in a segment's `TERMINOLOGY_TAG`."""
    codes = (terminology.category, terminology.type, terminology.modifier, None, None)
    category, kind, modifier, region, region_modifier = (_code(code) for code in codes)
    return "~".join((CATEGORY_CONTEXT, category, kind, modifier, REGION_CONTEXT, region, region_modifier))


def unit_color(label: Label) -> tuple[float, float, float]:
    """Return a label's colour (red, green, blue) in 0..1."""
    red, green, blue = label.color
    return red / 255, green / 255, blue / 255


def _code(code: Code | None) -> str:
    return "^".join((code.scheme, code.value, code.meaning)) if code else "^^"
