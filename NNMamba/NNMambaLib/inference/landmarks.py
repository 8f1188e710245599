"""Landmarks: from a prepared volume to heatmaps, and from these to positions in mm."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from NNMambaLib.inference.preprocessing import Prepared
from NNMambaLib.inference.sliding_window import Tiling, sliding_window
from NNMambaLib.inference.tile_predictor import tile_predictor
from NNMambaLib.models.manifest import HeatmapDecoding, LandmarkDefinition
from NNMambaLib.progress import Monitor
from NNMambaLib.results import Landmark
from NNMambaLib.volumes.volume import Grid


def detect(
    prepared: Prepared,
    source: Grid,
    network: nn.Module,
    device: torch.device,
    tiling: Tiling,
    definitions: tuple[LandmarkDefinition, ...],
    decoding: HeatmapDecoding,
    monitor: Monitor,
) -> tuple[Landmark, ...]:
    """Run the network over a prepared volume and decode one landmark from each heatmap.

    A landmark outside `source`, the grid of the volume as it was given, was not found.
    """
    predict = tile_predictor(network, device, lambda y: y, ())
    heatmaps = np.empty((len(definitions), *prepared.grid.shape), np.float32)
    monitor.stage("Detecting landmarks", tiling.count)
    for rows in sliding_window(predict, prepared.array, tiling, len(definitions), monitor.step):
        torch.from_numpy(heatmaps[rows.place]).copy_(rows.values)
    del rows  # and with it the slab, before the heatmaps are decoded
    monitor.stage("Decoding landmarks", 1)
    return tuple(
        within(source, decode(heatmap, prepared.grid, definition, decoding))
        for heatmap, definition in zip(heatmaps, definitions, strict=True)
    )


def decode(heatmap: np.ndarray, grid: Grid, definition: LandmarkDefinition, decoding: HeatmapDecoding) -> Landmark:
    """Return the landmark at the peak of a heatmap (z, y, x), located between voxels.

    The heatmap is taken for a Gaussian around its peak: along each axis the logarithms of the peak and its two
    neighbours lie on a parabola, whose vertex is the position.
    """
    peak = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    height = float(heatmap[peak])
    confidence = 1 / (1 + math.exp(-max(-700.0, min(700.0, decoding.slope * height + decoding.intercept))))
    position = None
    if height > 0 and confidence >= decoding.threshold:
        index = [peak[axis] + _vertex(heatmap, peak, axis) for axis in (2, 1, 0)]
        position = tuple(float(value) for value in grid.to_physical([index])[0])
    return Landmark(definition.name, definition.definition, position, confidence)


def within(grid: Grid, landmark: Landmark) -> Landmark:
    """Return the landmark, without its position where that lies outside a grid's voxels."""
    if landmark.found:
        index = grid.to_index([landmark.position])[0]
        if np.any(index < -0.5) or np.any(index > np.array(grid.shape[::-1]) - 0.5):
            return replace(landmark, position=None)
    return landmark


def _vertex(heatmap: np.ndarray, peak: tuple[int, ...], axis: int) -> float:
    """Return the parabola's vertex along an axis, in voxels from the peak, -0.5..0.5; 0 at the border."""
    if not 0 < peak[axis] < heatmap.shape[axis] - 1:
        return 0.0
    line = np.moveaxis(heatmap, axis, 0)[(slice(peak[axis] - 1, peak[axis] + 2), *np.delete(peak, axis))]
    before, center, after = np.log(np.maximum(line, 1e-3 * line[1]))
    curvature = before - 2 * center + after
    return 0.0 if curvature >= -1e-9 else float(np.clip((before - after) / (2 * curvature), -0.5, 0.5))
