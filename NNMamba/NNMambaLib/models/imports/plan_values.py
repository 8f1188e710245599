"""Values of nnU-Net's plans, each checked for its type and range, or refused by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.pickled_values import plain, shown


@dataclass(frozen=True)
class PlanValues:
    """A dictionary of plans and what messages call it.

    Args:
        content: the dictionary.
        source: the file, and the way to the dictionary in it.
    """

    content: Mapping[Any, Any]
    source: str

    @classmethod
    def of(cls, content: Any, source: str) -> PlanValues:
        """Return the values of what should be a dictionary.

        Raises:
            ModelError: if it is none.
        """
        if not isinstance(content, dict):
            raise ModelError(f"{source} should be a dictionary and is a {type(content).__name__}: it is not nnU-Net's.")
        return cls(content, source)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a value as Python has it, arrays as lists."""
        return plain(self.content.get(key, default))

    def within(self, key: Any) -> PlanValues:
        """Return the dictionary under a key."""
        return PlanValues.of(self._needed(key), f"{self.source}, {key!r},")

    def numbers(self, key: Any, count: int) -> tuple[float, ...]:
        """Return finite numbers, as many as they should be."""
        value = plain(self._needed(key))
        numbers = [plain(number) for number in value] if isinstance(value, (list, tuple)) else []
        if len(numbers) != count or not all(_is_number(number) for number in numbers):
            raise ModelError(f"{self.source} has no {count} numbers under {key!r}: it is not nnU-Net's, or of 2D.")
        return tuple(float(number) for number in numbers)

    def number(self, key: Any) -> float:
        """Return a finite number."""
        value = plain(self._needed(key))
        if not _is_number(value):
            raise ModelError(f"{self.source} has no number under {key!r}: it is not nnU-Net's.")
        return float(value)

    def text(self, key: Any, default: str | None = None) -> str:
        """Return a text."""
        value = self.get(key, default)
        if not isinstance(value, str):
            raise ModelError(f"{self.source} has no text under {key!r}: it is not nnU-Net's.")
        return shown(value)

    def order(self, key: str) -> tuple[int, int, int]:
        """Return an order of three axes."""
        numbers = self.numbers(key, 3)
        if sorted(numbers) != [0, 1, 2]:
            raise ModelError(f"{self.source} has no order of three axes under {key!r}: it is not nnU-Net's.")
        return int(numbers[0]), int(numbers[1]), int(numbers[2])

    def _needed(self, key: Any) -> Any:
        if key not in self.content:
            raise ModelError(f"{self.source} lacks {key!r}: give nnU-Net's result folder as it wrote it.")
        return self.content[key]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def refused_step(source: str, step: str) -> ModelError:
    """Return the error for a step that the engine cannot do as nnU-Net does."""
    return ModelError(
        f"{source} asks for {step}, which the engine does not do: the results would not be those of nnU-Net, so that "
        "it is not imported."
    )
