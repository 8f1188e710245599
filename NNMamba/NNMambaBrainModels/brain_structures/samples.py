"""Synthetic samples as a PyTorch data set."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from NNMambaBrainModels.heads.head_model import HeadModel
from NNMambaBrainModels.heads.structure_labels import label_table
from NNMambaBrainModels.synthesis.synthesis import SynthesisSettings, synthesize


class SyntheticHeads(Dataset):
    """`length` samples; number i depends on the seed and i alone, whatever process draws it.

    heads: (head model, weight) pairs; a head is drawn in proportion to its weight.
    Each item is (intensity float32 (1, z, y, x), labels int64 (z, y, x), StructureLabel).
    """

    def __init__(
        self,
        heads: Sequence[tuple[HeadModel, float]],
        settings: SynthesisSettings,
        seed: int,
        length: int,
        first: int = 0,
    ):
        if not heads:
            raise ValueError("At least one head model is needed.")
        self._heads = [head for head, _ in heads]
        weights = np.array([weight for _, weight in heads], dtype=float)
        self._probabilities = weights / weights.sum()
        self._settings = settings
        self._seed = seed
        self._first = first
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not 0 <= index < self._length:
            raise IndexError(index)
        rng = np.random.default_rng((self._seed, self._first + index))
        head = self._heads[int(rng.choice(len(self._heads), p=self._probabilities))]
        sample = synthesize(head, self._settings, rng)
        labels = torch.as_tensor(label_table(sample.mirrored))[sample.structures.long()]
        return sample.intensity[None], labels.long()
