"""Segmentation: from a prepared volume to labels on the grid of the input."""

from __future__ import annotations

import torch
from torch import nn

from NNMambaLib.inference.back_to_grid import Reoriented, Resampled, SegmentationArrays, Wanted
from NNMambaLib.inference.preprocessing import Prepared
from NNMambaLib.inference.sliding_window import Tiling, sliding_window
from NNMambaLib.inference.tile_predictor import softmax, tile_predictor
from NNMambaLib.progress import Monitor
from NNMambaLib.volumes.volume import Grid

_RUNNING, _RETURNING = "Segmenting", "Back to the input's grid"


def segment(
    prepared: Prepared,
    target: Grid,
    network: nn.Module,
    device: torch.device,
    tiling: Tiling,
    outputs: int,
    mirror_axes: tuple[str, ...],
    probabilities: bool,
    uncertainty: bool,
    monitor: Monitor,
) -> SegmentationArrays:
    """Run the network over a prepared volume; softmax of each tile, blended, argmax on the grid `target`."""
    predict = tile_predictor(network, device, softmax, mirror_axes)
    collector = Resampled if prepared.resampled else Reoriented
    collected = collector(prepared.grid, target, Wanted(outputs, probabilities, uncertainty))
    monitor.stage(_RUNNING, tiling.count)
    for rows in sliding_window(predict, prepared.array, tiling, outputs, monitor.step):
        with monitor.aside(_RETURNING):
            collected.add(rows)
    del rows  # it holds the slab
    monitor.stage(_RETURNING, 1)
    return collected.finish()
