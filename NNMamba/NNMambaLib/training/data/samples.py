"""The data set of training samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from NNMambaLib.training.data.prepared import PreparedCase, open_case

Sampler = Callable[[PreparedCase, np.random.Generator], tuple[torch.Tensor, torch.Tensor]]


class Samples(Dataset):
    """`length` samples from number `first` on; a sample depends on the seed and its number alone.

    Args:
        folder, names: the prepared cases; each is used equally often.
        sampler: makes a sample from a case.
    """

    def __init__(self, folder: Path, names: Sequence[str], sampler: Sampler, seed: int, first: int, length: int):
        self._folder, self._names, self._sampler = folder, sorted(names), sampler
        self._seed, self._first, self._length = seed, first, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not 0 <= index < self._length:
            raise IndexError(index)
        turn, place = divmod(self._first + index, len(self._names))
        order = np.random.default_rng((self._seed, 0, turn)).permutation(len(self._names))
        # Opened for each sample: a memory map that a worker process inherits would be copied whole.
        case = open_case(self._folder, self._names[order[place]])
        return self._sampler(case, np.random.default_rng((self._seed, 1, self._first + index)))
