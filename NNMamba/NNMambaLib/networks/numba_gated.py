"""The numba kernels of `gated_scans`. Importing this module imports numba; the first call compiles, later ones load."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from NNMambaLib.networks.numba_math import OPTIONS, exp2, silu, softplus, stack_floats

# Tokens whose inputs are read together, well before the recurrence needs them: one at a time, it would wait for memory.
_STAGE = 16
_BLOCK = 32
# States of a channel at most: their memory is part of the kernel.
STATES = 64
_ZERO = np.float32(0)


@njit(**OPTIONS)
def convolve(x, weight, bias, y, begin, end):
    """SiLU of the causal depthwise convolution for tokens begin..end: y[0] over tokens before, y[1] over those after.

    x (L, E), whose rows may be columns of wider ones; weight (taps, E), the last tap for the token itself; bias (E,);
    y (directions, L, E), directions 1 or 2.
    """
    length, channels = x.shape
    taps = weight.shape[0]
    total = carray(stack_floats(64), (64,))
    for first in range(0, channels, 64):
        width = min(64, channels - first)
        for t in range(begin, end):
            for direction in range(y.shape[0]):
                for c in range(width):
                    total[c] = bias[first + c]
                for tap in range(taps):
                    s = t + (taps - 1 - tap if direction else tap - taps + 1)
                    if 0 <= s < length:
                        for c in range(width):
                            total[c] += weight[tap, first + c] * x[s, first + c]
                for c in range(width):
                    y[direction, t, first + c] = silu(total[c])


@njit(**OPTIONS)
def scan_gated(x, projected, dt_weight, dt_bias, exponents, D, z, y, first, last):
    """Scan channels first..last forward and, where `x` has two directions, backward; y = sum of both * SiLU(z).

    x (directions, L, E); projected (directions, L, R + 2N), the columns dt, B, C; dt_weight (R, E); dt_bias, D (E,);
    exponents (N, E), A log2(e); z, y (L, E), whose rows may be columns of wider ones. At most 32 channels.
    """
    directions, length, _ = x.shape
    rank = dt_weight.shape[0]
    states = exponents.shape[0]
    width = last - first
    state = carray(stack_floats(2048), (64, 32))
    rates = carray(stack_floats(2048), (64, 32))
    step = carray(stack_floats(512), (16, 32))
    drive = carray(stack_floats(512), (16, 32))
    out = carray(stack_floats(512), (16, 32))
    for i in range(_STAGE):
        for c in range(_BLOCK):
            step[i, c] = _ZERO
            drive[i, c] = _ZERO
            out[i, c] = _ZERO
    for n in range(states):
        for c in range(_BLOCK):
            rates[n, c] = _ZERO
        for c in range(width):
            rates[n, c] = exponents[n, first + c]
    for direction in range(directions):
        for n in range(states):
            for c in range(_BLOCK):
                state[n, c] = _ZERO
        for begin in range(0, length, _STAGE):
            count = min(_STAGE, length - begin)
            for i in range(count):
                t = length - 1 - begin - i if direction else begin + i
                for c in range(width):
                    step[i, c] = dt_bias[first + c]
                for r in range(rank):
                    p = projected[direction, t, r]
                    for c in range(width):
                        step[i, c] += p * dt_weight[r, first + c]
                for c in range(_BLOCK):
                    step[i, c] = softplus(step[i, c])
                for c in range(width):
                    v = x[direction, t, first + c]
                    drive[i, c] = step[i, c] * v
                    out[i, c] = D[first + c] * v
            for i in range(count):
                t = length - 1 - begin - i if direction else begin + i
                for n in range(states):
                    b = projected[direction, t, rank + n]
                    w = projected[direction, t, rank + states + n]
                    # The full block runs also where it is partly empty: its fixed length lets the loop vectorise.
                    for c in range(_BLOCK):
                        s = state[n, c] * exp2(step[i, c] * rates[n, c]) + drive[i, c] * b
                        state[n, c] = s
                        out[i, c] += s * w
            for i in range(count):
                t = length - 1 - begin - i if direction else begin + i
                if direction:
                    for c in range(width):
                        out[i, c] += y[t, first + c]
                if direction == directions - 1:
                    for c in range(width):
                        out[i, c] *= silu(z[t, first + c])
                for c in range(width):
                    y[t, first + c] = out[i, c]
