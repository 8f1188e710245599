"""HeadDataset: what the data sets of the three models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

Head = TypeVar("Head")
Item = tuple[torch.Tensor, torch.Tensor]


class HeadDataset(Dataset[Item], ABC, Generic[Head]):
    """`length` samples made from heads, the first of them number `first`.

    Sample number i depends on the seed and i alone, whichever process makes it: a training run that is resumed, and
    one that has more workers, sees the same samples.

    Args:
        heads: pairs of a head and its weight; a head is chosen in proportion to its weight.

    Raises:
        ValueError: if there is no head.
    """

    def __init__(self, heads: Sequence[tuple[Head, float]], seed: int, length: int, first: int = 0):
        if not heads:
            raise ValueError("At least one head model is needed.")
        self._heads = [head for head, _ in heads]
        weights = np.array([weight for _, weight in heads], dtype=float)
        self._probabilities = weights / weights.sum()
        self._seed, self._length, self._first = seed, length, first

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self._length:
            raise IndexError(index)
        return self.make(self._first + index)

    @abstractmethod
    def make(self, number: int) -> Item:
        """Return sample `number`: the network's input and its target."""

    def generator(self, *numbers: int) -> np.random.Generator:
        """Return the random generator of the seed and these numbers."""
        return np.random.default_rng((self._seed, *numbers))

    def choose_head(self, rng: np.random.Generator) -> Head:
        """Return one of the heads, in proportion to their weights."""
        return self._heads[int(rng.choice(len(self._heads), p=self._probabilities))]
