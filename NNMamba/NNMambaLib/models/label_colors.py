"""Colors of labels that a package does not give any."""

from __future__ import annotations

import colorsys


def label_color(value: int, count: int) -> tuple[int, int, int]:
    """Return a colour, 0..255, for a label of 1..count - 1: all hues in turn."""
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb((value - 1) / max(1, count - 1), 0.7, 0.95))
