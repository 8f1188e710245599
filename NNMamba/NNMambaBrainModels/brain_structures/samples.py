"""Synthetic samples of `brain-structures` as a PyTorch data set."""

from collections.abc import Sequence

import torch

from NNMambaBrainModels.heads.dataset import HeadDataset
from NNMambaBrainModels.heads.head_model import HeadModel
from NNMambaBrainModels.heads.structure_labels import label_table
from NNMambaBrainModels.synthesis.synthesis import SynthesisSettings, synthesize


class SyntheticHeads(HeadDataset[HeadModel]):
    """Pairs of (intensity float32 (1, z, y, x), labels int64 (z, y, x), `StructureLabel`); see `HeadDataset`."""

    def __init__(
        self,
        heads: Sequence[tuple[HeadModel, float]],
        settings: SynthesisSettings,
        seed: int,
        length: int,
        first: int = 0,
    ):
        super().__init__(heads, seed, length, first)
        self._settings = settings

    def make(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = self.generator(number)
        sample = synthesize(self.choose_head(rng), self._settings, rng)
        labels = torch.as_tensor(label_table(sample.mirrored))[sample.structures.long()]
        return sample.intensity[None], labels.long()
