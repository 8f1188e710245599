"""The numba kernels of `gated_scans`.

Importing this module imports numba; the first call compiles, later processes load from the cache.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from NNMambaLib.kernels.arithmetic import OPTIONS, decay, silu, softplus
from NNMambaLib.kernels.blocks import BLOCKS
from NNMambaLib.kernels.stack_memory import STATES, add_scaled, copy_floats, copy_row, prefetch, stack_floats

# numba's cache depends on this file, and the kernels on these too: arithmetic and stack_memory, f220bbe57976.

# Taps that `convolve` takes; fewer are padded with zeros.
TAPS = 4
_ZERO = np.float32(0)


@njit(**OPTIONS)
def convolve(mixed, x_first, weight, bias, y, begin, end):
    """Write SiLU of the depthwise convolution of tokens begin..end with those before them to y[0], after them to y[1].

    mixed (L, at least E), with the E columns of x from x_first on; weight (4, E), the last tap for the token itself;
    bias (E,); y (directions, L, E), directions 1 or 2.
    """
    length = mixed.shape[0]
    channels = bias.shape[0]
    # 16 tokens of 64 channels at a time, with three tokens before and after.
    window = carray(stack_floats(1408), (1408,))
    w = carray(stack_floats(4096), (4, 1024))
    b = carray(stack_floats(1024), (1024,))
    out = carray(stack_floats(1024), (1024,))
    window[:] = _ZERO
    w[:] = _ZERO
    b[:] = _ZERO
    for first in range(0, channels, 64):
        last = min(first + 64, channels)
        for i in range(16):
            copy_row(b[64 * i :], bias[first:last], last - first, 64)
            for tap in range(4):
                copy_row(w[tap, 64 * i :], weight[tap, first:last], last - first, 64)
        for start in range(begin, end, 16):
            for i in range(22):
                t = start + i - 3
                if 0 <= t < length:
                    copy_row(window[64 * i :], mixed[t, x_first + first : x_first + last], last - first, 64)
                else:
                    window[64 * i : 64 * i + 64] = _ZERO
            for direction in range(y.shape[0]):
                if direction:
                    for j in range(1024):
                        before = w[0, j] * window[j + 384] + w[1, j] * window[j + 320] + w[2, j] * window[j + 256]
                        out[j] = silu(b[j] + before + w[3, j] * window[j + 192])
                else:
                    for j in range(1024):
                        before = w[0, j] * window[j] + w[1, j] * window[j + 64] + w[2, j] * window[j + 128]
                        out[j] = silu(b[j] + before + w[3, j] * window[j + 192])
                for i in range(min(16, end - start)):
                    copy_row(y[direction, start + i, first:last], out[64 * i :], last - first, 64)


def _scan_kernel(block):
    """Return the scan for jobs of `block` channels: a constant lets loops vectorise and the stack hold the states."""
    tile = 8 * block  # eight tokens are read together: one at a time, the recurrence would wait for memory
    states_size = STATES * block
    shape = (STATES, block)

    @njit(**OPTIONS)
    def scan(x, projected, dt_weight, dt_bias, exponents, D, mixed, z_first, y, y_first, first, last):
        """Scan channels first..last forward and, if x has two directions, backward; y = sum of both * SiLU(z).

        x (directions, L, E); projected (directions, L, R + 2N), the columns dt, B, C; dt_weight (R, E); dt_bias, D
        (E,); exponents (N, E), A log2(e), negative; mixed and y (L, at least E), with the columns of z and y for
        channel `first` from z_first and y_first on. In dt_weight, dt_bias, exponents and D, E is padded with zeros to
        full blocks.
        """
        directions, length = x.shape[:2]
        rank = dt_weight.shape[0]
        states = exponents.shape[0]
        width = last - first
        state = carray(stack_floats(states_size), shape)
        rates = carray(stack_floats(states_size), shape)
        bias = carray(stack_floats(tile), (tile,))
        skip = carray(stack_floats(tile), (tile,))
        step = carray(stack_floats(tile), (tile,))
        drive = carray(stack_floats(tile), (tile,))
        out = carray(stack_floats(tile), (tile,))
        gate = carray(stack_floats(tile), (tile,))
        forward = carray(stack_floats(tile), (tile,))
        for n in range(states):
            copy_floats(rates[n], exponents[n, first:], block)
        for at in range(0, tile, block):
            copy_floats(bias[at:], dt_bias[first:], block)
            copy_floats(skip[at:], D[first:], block)
        drive[:] = _ZERO
        gate[:] = _ZERO
        forward[:] = _ZERO
        for direction in range(directions):
            state[:] = _ZERO
            for begin in range(0, length, 8):
                count = min(8, length - begin)
                for i in range(count):
                    t = length - 1 - begin - i if direction else begin + i
                    copy_row(drive[i * block :], x[direction, t, first:last], width, block)
                    if direction:
                        copy_row(forward[i * block :], y[t, y_first : y_first + width], width, block)
                    if direction == directions - 1:
                        copy_row(gate[i * block :], mixed[t, z_first : z_first + width], width, block)
                # The next tokens' memory is fetched while the recurrence runs.
                for i in range(min(8, length - begin - 8)):
                    t = length - 9 - begin - i if direction else begin + 8 + i
                    prefetch(x[direction, t, first:], block)
                    prefetch(projected[direction, t, rank:], 32)
                    prefetch(y[t, y_first:], block)
                    if direction == directions - 1:
                        prefetch(mixed[t, z_first:], block)
                copy_floats(step, bias, tile)
                for i in range(count):
                    t = length - 1 - begin - i if direction else begin + i
                    for r in range(rank):
                        add_scaled(step[i * block :], dt_weight[r, first:], projected[direction, t, r], block)
                for j in range(tile):
                    x_ = drive[j]
                    step[j] = softplus(step[j])
                    drive[j] = step[j] * x_
                    out[j] = skip[j] * x_
                for i in range(count):
                    t = length - 1 - begin - i if direction else begin + i
                    at = i * block
                    BC = projected[direction, t, rank:]
                    for n in range(states):
                        B = BC[n]
                        C = BC[states + n]
                        for c in range(block):
                            s = state[n, c] * decay(step[at + c] * rates[n, c]) + drive[at + c] * B
                            state[n, c] = s
                            out[at + c] += s * C
                if direction:
                    for j in range(tile):
                        out[j] += forward[j]
                if direction == directions - 1:
                    for j in range(tile):
                        out[j] *= silu(gate[j])
                for i in range(count):
                    t = length - 1 - begin - i if direction else begin + i
                    copy_row(y[t, y_first : y_first + width], out[i * block :], width, block)

    return scan


# By channels of a job.
SCANS = {block: _scan_kernel(block) for block in BLOCKS}
