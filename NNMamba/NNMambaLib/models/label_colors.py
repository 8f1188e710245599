"""Colours for labels that have none."""

from __future__ import annotations

import colorsys


def label_color(value: int, count: int) -> tuple[int, int, int]:
    """Return a colour, 0..255, for a label of 1..count - 1: hues at even distances."""
    red, green, blue = colorsys.hsv_to_rgb((value - 1) / max(1, count - 1), 0.7, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
