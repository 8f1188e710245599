"""Samples to train tiny networks on, the same for each task: a bright cube in the dark."""

import torch
from torch.utils.data import Dataset


class Cubes(Dataset):
    """A bright cube at a place that the sample's number decides.

    The target is a label for its voxels, its corner as a landmark beside one that is absent, or whether it is the
    brighter kind.
    """

    def __init__(self, first, length, task="segmentation", size=16):
        self._first, self._length, self._task, self._size = first, length, task, size

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        if index >= self._length:
            raise IndexError(index)
        half, quarter = self._size // 2, self._size // 4
        labels = torch.zeros((self._size,) * 3, dtype=torch.int64)
        number = self._first + index
        corner, bright = number * 5 % half, number // 2 % 2
        labels[corner : corner + half, quarter : quarter + half, quarter : quarter + half] = 1
        target = {
            "segmentation": labels,
            "landmarks": torch.tensor([[quarter, quarter, corner, 1], [float("nan")] * 3 + [0]], dtype=torch.float32),
            "classification": torch.tensor([bright]),
        }
        return labels.float()[None] * (1 + bright) + 0.01, target[self._task]
