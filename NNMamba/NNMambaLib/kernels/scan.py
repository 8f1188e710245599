"""The kernel of the scan's backend `numba`.

Importing this module imports numba; the first call compiles, later processes load from the cache.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from NNMambaLib.kernels import arithmetic
from NNMambaLib.kernels.arithmetic import OPTIONS, exp2, silu
from NNMambaLib.kernels.blocks import BLOCKS
from NNMambaLib.kernels.stack_memory import STATES, copy_floats, copy_row, prefetch, stack_floats

# numba's cache depends on this file, and the kernels on these too: arithmetic and stack_memory, f220bbe57976.

_ZERO = np.float32(0)


def _scan_kernel(block):
    """Return the scan for jobs of `block` channels: a constant lets loops vectorise and the stack hold the states."""
    tile = 8 * block  # eight tokens are read together: one at a time, the recurrence would wait for memory
    states_size = STATES * block
    shape = (STATES, block)

    @njit(**OPTIONS)
    def scan(u, delta, exponents, B, C, D, z, bias, y, first, last, gated, softplus, reverse):
        """Scan channels first..last of one batch element.

        u, delta, z, y (L, E); exponents (N, E), A log2(e); B, C (L, N); D, bias (E,). In exponents, D and bias, E is
        padded with zeros to full blocks. At most `STATES` states.
        """
        length = u.shape[0]
        states = exponents.shape[0]
        width = last - first
        state = carray(stack_floats(states_size), shape)
        rates = carray(stack_floats(states_size), shape)
        offset = carray(stack_floats(tile), (tile,))
        skip = carray(stack_floats(tile), (tile,))
        step = carray(stack_floats(tile), (tile,))
        drive = carray(stack_floats(tile), (tile,))
        out = carray(stack_floats(tile), (tile,))
        gate = carray(stack_floats(tile), (tile,))
        for n in range(states):
            copy_floats(rates[n], exponents[n, first:], block)
        for at in range(0, tile, block):
            copy_floats(offset[at:], bias[first:], block)
            copy_floats(skip[at:], D[first:], block)
        state[:] = _ZERO
        step[:] = _ZERO
        drive[:] = _ZERO
        gate[:] = _ZERO
        for begin in range(0, length, 8):
            count = min(8, length - begin)
            for i in range(count):
                t = length - 1 - begin - i if reverse else begin + i
                at = i * block
                copy_row(drive[at:], u[t, first:last], width, block)
                copy_row(step[at:], delta[t, first:last], width, block)
                if gated:
                    copy_row(gate[at:], z[t, first:last], width, block)
            # The next tokens' memory is fetched while the recurrence runs.
            for i in range(min(8, length - begin - 8)):
                t = length - 9 - begin - i if reverse else begin + 8 + i
                prefetch(u[t, first:], block)
                prefetch(delta[t, first:], block)
                prefetch(z[t, first:], block)
                prefetch(y[t, first:], block)
            if softplus:
                for j in range(tile):
                    step[j] = arithmetic.softplus(step[j] + offset[j])
            else:
                for j in range(tile):
                    step[j] += offset[j]
            for j in range(tile):
                u_ = drive[j]
                drive[j] = step[j] * u_
                out[j] = skip[j] * u_
            for i in range(count):
                t = length - 1 - begin - i if reverse else begin + i
                at = i * block
                for n in range(states):
                    b = B[t, n]
                    w = C[t, n]
                    for c in range(block):
                        s = state[n, c] * exp2(step[at + c] * rates[n, c]) + drive[at + c] * b
                        state[n, c] = s
                        out[at + c] += s * w
            if gated:
                for j in range(tile):
                    out[j] *= silu(gate[j])
            for i in range(count):
                t = length - 1 - begin - i if reverse else begin + i
                copy_row(y[t, first:last], out[i * block :], width, block)

    return scan


# By channels of a job.
SCANS = {block: _scan_kernel(block) for block in BLOCKS}
