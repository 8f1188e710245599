"""Quantities as text."""

from __future__ import annotations

import math
from collections.abc import Sequence


def format_bytes(count: float) -> str:
    """Return a count of bytes in the largest unit that leaves at least 1."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def format_duration(seconds: float) -> str:
    """Return a time to wait, rounded up, in the units in which people count it."""
    if seconds <= 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    if minutes <= 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours + (minutes > 0), 24)
    return f"{days} days {hours} h"


def format_names(names: Sequence[str], most: int = 3) -> str:
    """Return names in one line: the first few, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
