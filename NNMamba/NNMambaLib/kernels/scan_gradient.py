"""The numba kernel of the scan's gradient. Importing this module imports numba; the first call compiles."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from NNMambaLib.kernels.arithmetic import LN2, OPTIONS, exp2
from NNMambaLib.kernels.stack_memory import copy_row, stack_floats

# numba's cache depends on this file, and the kernels on these too: arithmetic and stack_memory, f220bbe57976.

# Channels that one call takes at most.
BLOCK = 64
_CHECKPOINT = 32


@njit(**{**OPTIONS, "fastmath": {"contract", "reassoc"}})
def scan_gradient_block(u, delta, exponents, B, C, dy, du, d_delta, dA, dB, dC, first, last, reverse):
    """Add the gradients for channels first..last of one batch element of a scan without skip, gate and softplus.

    The states are recomputed: one pass keeps those at every `_CHECKPOINT`-th token, then each stretch between two of
    them is run again, and the adjoint recurrence r_t = C_t dy_t + exp(delta_(t+1) A) r_(t+1) runs back over it.
    u, delta, dy, du, d_delta (L, E); exponents, dA (N, E), dA with respect to A itself; B, C, dB, dC (L, N).
    """
    length = u.shape[0]
    states = exponents.shape[0]
    width = last - first
    stretches = (length + _CHECKPOINT - 1) // _CHECKPOINT
    kept = np.zeros((stretches, states, BLOCK), np.float32)
    s = np.zeros((_CHECKPOINT + 1, states, BLOCK), np.float32)
    decay = np.zeros((_CHECKPOINT, states, BLOCK), np.float32)
    rates = np.zeros((states, BLOCK), np.float32)
    rates_gradient = np.zeros((states, BLOCK), np.float32)
    carried = np.zeros((states, BLOCK), np.float32)
    step = carray(stack_floats(64), (64,))
    drive = carray(stack_floats(64), (64,))
    slope = carray(stack_floats(64), (64,))
    from_input = carray(stack_floats(64), (64,))
    from_decay = carray(stack_floats(64), (64,))
    u_ = carray(stack_floats(64), (64,))
    step[:] = 0
    slope[:] = 0
    u_[:] = 0
    for n in range(states):
        for c in range(width):
            rates[n, c] = exponents[n, first + c]
    for i in range(length):
        t = length - 1 - i if reverse else i
        if i % _CHECKPOINT == 0:
            kept[i // _CHECKPOINT] = carried
        copy_row(step, delta[t, first:last], width, BLOCK)
        copy_row(u_, u[t, first:last], width, BLOCK)
        for c in range(BLOCK):
            drive[c] = step[c] * u_[c]
        for n in range(states):
            b = B[t, n]
            for c in range(BLOCK):
                carried[n, c] = carried[n, c] * exp2(step[c] * rates[n, c]) + drive[c] * b
    carried[:] = 0
    for stretch in range(stretches - 1, -1, -1):
        begin = stretch * _CHECKPOINT
        count = min(_CHECKPOINT, length - begin)
        s[0] = kept[stretch]
        for k in range(count):
            t = length - 1 - begin - k if reverse else begin + k
            copy_row(step, delta[t, first:last], width, BLOCK)
            copy_row(u_, u[t, first:last], width, BLOCK)
            for c in range(BLOCK):
                drive[c] = step[c] * u_[c]
            for n in range(states):
                b = B[t, n]
                for c in range(BLOCK):
                    a = exp2(step[c] * rates[n, c])
                    decay[k, n, c] = a
                    s[k + 1, n, c] = s[k, n, c] * a + drive[c] * b
        for k in range(count - 1, -1, -1):
            t = length - 1 - begin - k if reverse else begin + k
            copy_row(step, delta[t, first:last], width, BLOCK)
            copy_row(u_, u[t, first:last], width, BLOCK)
            copy_row(slope, dy[t, first:last], width, BLOCK)
            for c in range(BLOCK):
                drive[c] = step[c] * u_[c]
                from_input[c] = 0
                from_decay[c] = 0
            for n in range(states):
                b = B[t, n]
                w = C[t, n]
                sum_b = np.float32(0)
                sum_c = np.float32(0)
                for c in range(BLOCK):
                    r = carried[n, c] + w * slope[c]
                    sum_c += s[k + 1, n, c] * slope[c]
                    sum_b += r * drive[c]
                    from_input[c] += r * b
                    carried[n, c] = r * decay[k, n, c]
                    exponent = carried[n, c] * s[k, n, c]
                    rates_gradient[n, c] += exponent * step[c]
                    from_decay[c] += exponent * rates[n, c]
                dB[t, n] += sum_b
                dC[t, n] += sum_c
            for c in range(BLOCK):
                from_decay[c] = u_[c] * from_input[c] + from_decay[c] * LN2
                from_input[c] *= step[c]
            copy_row(du[t, first:last], from_input, width, BLOCK)
            copy_row(d_delta[t, first:last], from_decay, width, BLOCK)
    for n in range(states):
        for c in range(width):
            dA[n, first + c] += rates_gradient[n, c]
