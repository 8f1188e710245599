"""Numba kernels from the network's outputs to labels. Importing this module imports numba: see `availability`.

Arrays are C-contiguous with classes last, so that a voxel's values lie together.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from NNMambaLib.kernels.arithmetic import LOG2E, OPTIONS, exp2

# numba's cache depends on this file, and the kernels on these too: arithmetic and stack_memory, f220bbe57976.


@njit(**OPTIONS)
def softmax(values, first, last):
    """Replace rows first..last of values (voxel, class) by their softmax; a row with NaN or infinity becomes NaN."""
    classes = values.shape[1]
    block = 128
    buffer = np.empty(block * classes, np.float32)
    sums = np.empty(block, np.float32)
    for begin in range(first, last, block):
        count = min(block, last - begin)
        for i in range(count):
            highest = values[begin + i, 0]
            total = highest
            for k in range(1, classes):
                value = values[begin + i, k]
                highest = max(highest, value)
                total += value
            # 0, or NaN where a value is not finite, which exp2 would hide.
            sums[i] = total * np.float32(0)
            for k in range(classes):
                buffer[i * classes + k] = values[begin + i, k] - highest
        for j in range(count * classes):
            buffer[j] = exp2(buffer[j] * LOG2E)
        for i in range(count):
            total = sums[i]
            for k in range(classes):
                total += buffer[i * classes + k]
            factor = np.float32(1) / total
            for k in range(classes):
                values[begin + i, k] = buffer[i * classes + k] * factor


@njit(**OPTIONS)
def label(values, labels, begin, end, shift, first, last):
    """Write the class of the highest value, the first of equals, for voxels begin..end of planes first..last.

    Args:
        values: (z, y, x, class).
        labels: (z, y, x), written at the voxels' indices plus `shift`.
        begin, end, shift: (z, y, x).
    """
    for z in range(first, last):
        for y in range(begin[1], end[1]):
            for x in range(begin[2], end[2]):
                highest = values[z, y, x, 0]
                best = 0
                for k in range(1, values.shape[3]):
                    if values[z, y, x, k] > highest:
                        highest = values[z, y, x, k]
                        best = k
                labels[z + shift[0], y + shift[1], x + shift[2]] = best


@njit(**OPTIONS)
def label_interpolated(values, highest, origin, steps, low, high, lowest, uppermost, shift, labels, first, last):
    """Label planes first..last of a target grid by the highest of the trilinearly interpolated values.

    Where the eight neighbours have their highest value in the same class, so has every point between them: only the
    other voxels are interpolated.

    Args:
        values: (z, y, x, class).
        highest: the class of each voxel's highest value, (z, y, x).
        origin, steps: index (z, y, x) in the model's grid of the target's voxel 0, and its change (z, y, x) for each
            step along the target's z, y, x.
        low, high: only voxels whose index is at least `low` and less than `high` along each axis are labelled.
        lowest, uppermost: whole indices to which an index is clipped for the interpolation.
        shift: index (z, y, x) in the model's grid of the first voxel of `values`.
        labels: (z, y, x) of the target.
    """
    classes = values.shape[3]
    between = np.empty(classes, np.float32)
    one = np.float32(1)
    for k in range(first, last):
        for j in range(labels.shape[1]):
            begin, end = 0, labels.shape[2]
            start_z = origin[0] + k * steps[0, 0] + j * steps[1, 0]
            start_y = origin[1] + k * steps[0, 1] + j * steps[1, 1]
            start_x = origin[2] + k * steps[0, 2] + j * steps[1, 2]
            begin, end = _clip(start_z, steps[2, 0], low[0], high[0], begin, end)
            begin, end = _clip(start_y, steps[2, 1], low[1], high[1], begin, end)
            begin, end = _clip(start_x, steps[2, 2], low[2], high[2], begin, end)
            for i in range(begin, end):
                z0, z1, z = _between(start_z + i * steps[2, 0], lowest[0], uppermost[0], shift[0])
                y0, y1, y = _between(start_y + i * steps[2, 1], lowest[1], uppermost[1], shift[1])
                x0, x1, x = _between(start_x + i * steps[2, 2], lowest[2], uppermost[2], shift[2])
                best = highest[z0, y0, x0]
                if (
                    best == highest[z0, y0, x1]
                    and best == highest[z0, y1, x0]
                    and best == highest[z0, y1, x1]
                    and best == highest[z1, y0, x0]
                    and best == highest[z1, y0, x1]
                    and best == highest[z1, y1, x0]
                    and best == highest[z1, y1, x1]
                ):
                    labels[k, j, i] = best
                    continue
                w000, w001 = (one - z) * (one - y) * (one - x), (one - z) * (one - y) * x
                w010, w011 = (one - z) * y * (one - x), (one - z) * y * x
                w100, w101 = z * (one - y) * (one - x), z * (one - y) * x
                w110, w111 = z * y * (one - x), z * y * x
                for c in range(classes):
                    between[c] = (
                        w000 * values[z0, y0, x0, c] + w001 * values[z0, y0, x1, c]
                        + w010 * values[z0, y1, x0, c] + w011 * values[z0, y1, x1, c]
                        + w100 * values[z1, y0, x0, c] + w101 * values[z1, y0, x1, c]
                        + w110 * values[z1, y1, x0, c] + w111 * values[z1, y1, x1, c]
                    )  # fmt: skip
                best = 0
                for c in range(1, classes):
                    if between[c] > between[best]:
                        best = c
                labels[k, j, i] = best


@njit(inline="always", **OPTIONS)
def _clip(start, step, low, high, begin, end):
    """Return the part of begin..end where low <= start + step i < high; adjacent ranges give adjacent parts."""
    if step == 0:
        return (begin, end) if low <= start < high else (begin, begin)
    if step > 0:
        lower, upper = np.ceil((low - start) / step), np.ceil((high - start) / step)
    else:
        lower, upper = np.floor((high - start) / step) + 1, np.floor((low - start) / step) + 1
    return int(min(max(lower, begin), end)), int(min(max(upper, begin), end))


@njit(inline="always", **OPTIONS)
def _between(index, lowest, uppermost, shift):
    """Return the whole indices around an index clipped to lowest..uppermost, less `shift`, and the fraction."""
    index = min(max(index, float(lowest)), float(uppermost))
    below = max(min(int(index), uppermost - 1), lowest)
    return below - shift, min(below + 1, uppermost) - shift, np.float32(index - below)
