"""Compiling the kernels of inference before anybody waits for them."""

from __future__ import annotations

import numpy as np
import torch

from NNMambaLib.inference.back_to_grid import Reoriented, Resampled, Wanted
from NNMambaLib.inference.sliding_window import Rows
from NNMambaLib.inference.tile_predictor import softmax
from NNMambaLib.networks.scan import gated_scans
from NNMambaLib.volumes.volume import Grid


def warm_up() -> None:
    """Compile every numba kernel that inference uses, or load those compiled before; see `gated_scans.warm_up`."""
    gated_scans.warm_up()
    softmax(torch.zeros(1, 2, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d))
    grid = Grid((2, 2, 2), np.eye(4))
    rows = Rows(0, 0, 2, np.zeros((3, 2, 2, 2), np.float32))
    for collector in (Reoriented, Resampled):
        collector(grid, grid, Wanted(2, False, False)).add(rows)
