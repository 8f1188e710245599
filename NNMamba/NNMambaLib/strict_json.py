"""Read JSON that comes from outside; what a later step could not hold or write again is refused at once."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

# Manifests, markups and settings have fewer than ten levels; Python's own reader gives up somewhere above a thousand.
MAX_DEPTH = 64
# No file that is read as JSON holds voxels or weights: the largest markups and manifests have a few megabytes. As
# Python's objects a character takes up to forty bytes.
MAX_CHARACTERS = 16 * 2**20
# Digits of the largest float64, 1.8e308.
_MAX_DIGITS = 308


def parse_json(text: str, allow_nan: bool = False) -> Any:
    """Return the value of a JSON text.

    Args:
        allow_nan: take ``NaN`` and ``Infinity`` as numbers, which JSON does not have; Slicer writes them for what is
            undefined.

    Raises:
        ValueError: if the text is not JSON, is longer than `MAX_CHARACTERS` or nested deeper than `MAX_DEPTH`, names a
            key twice in an object, holds a number that float64 cannot, or text that UTF-8 cannot (a lone surrogate).
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, more than {MAX_CHARACTERS:,}")
    try:
        value = json.loads(
            text,
            parse_int=_int,
            parse_float=_float,
            parse_constant=float if allow_nan else _refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    _check(value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is not a number in JSON")


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"it holds the number {digits[:20]}... of {len(digits)} digits, which is too large")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"it holds the number {digits[:20]}, which is too large")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"it names {_short(twice)} twice in one object")
    return content


def _short(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")


def _check(value: Any) -> None:
    """Refuse what is nested too deep, and texts with lone surrogates."""
    level, depth = [value], 0
    while level:
        texts = [entry for entry in level if isinstance(entry, str)]
        texts += [key for entry in level if isinstance(entry, dict) for key in entry]
        for text in texts:
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError(f"it holds the text {text[:40]!a}, which is not valid Unicode")
        level = [
            below
            for entry in level
            if isinstance(entry, (dict, list))
            for below in (entry.values() if isinstance(entry, dict) else entry)
        ]
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
