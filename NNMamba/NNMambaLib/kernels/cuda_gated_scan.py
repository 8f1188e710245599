"""The CUDA kernels of the selective scan: softplus, recurrence in one or two directions, skip and gate.

The tokens are cut into chunks, so that a single volume fills a GPU. Three launches follow one another: `ends` runs
every chunk from a zero state to its end, `carry` turns those ends into the states in which the chunks truly start, and
`scan` runs again from there and writes the output. A thread has one channel of one chunk, with all of its states in
registers; a block has `CHANNELS` channels, for which dt, B and C lie in shared memory, `TILE` tokens at a time.

Sequences are numbered s = group * batch + item, as in `gated_scans`, and with their direction q = s * directions +
direction. A direction goes backward where it is the second one, or the only one and `reverse` is set. Arrays are
C-contiguous::

    u        (q, L, E)                    what goes into the recurrence
    delta    (q, L, E)                    step sizes before bias and softplus; of no meaning where rank > 0
    rows     (q, L, rank + 2 states)      dt, B, C
    weight   (RANK, E)                    of dt_proj, padded with zeros; (1, E) where RANK is 0
    bias, skip (E,), rates (STATES, E)    dt_proj's bias, D, and A log2(e) padded with zeros
    state    (q, chunks, STATES, E)       at a chunk's end, then at its start
    total    (q, chunks, E)               the sum of its step sizes
    gate, y, sums (batch, L, columns)     group g has columns first + g step onwards

Importing this module imports numba-cuda; a kernel is compiled when it is first launched.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from numba import cuda, float32

from NNMambaLib.kernels.cuda_arithmetic import (
    CHANNELS,
    SIMULATED,
    TILE,
    as_stored,
    exp2,
    from_bfloat16,
    silu,
    softplus,
    to_bfloat16,
)

# States that a thread can hold, and ranks of dt that it can multiply: arrays are padded to the next of these.
PADDED_STATES = (8, 16)
PADDED_RANKS = (0, 4, 8, 16)


@dataclass(frozen=True)
class ScanKernels:
    """The three kernels for one number of states, rank and form of the values."""

    ends: Any
    carry: Any
    scan: Any


@functools.cache
def scan_kernels(
    states: int, rank: int, bfloat16_inputs: bool = False, bfloat16_gate: bool = False, bfloat16_output: bool = False
) -> ScanKernels:
    """Return the kernels for padded `states` and `rank` (0 where delta is given).

    Args:
        bfloat16_inputs: u, delta and rows hold bfloat16 as uint16; else each is float32 or float16.
        bfloat16_gate, bfloat16_output: gate and y, likewise.
    """
    STATES, RANK = states, rank
    HEAD, WIDTH = RANK + STATES, RANK + 2 * STATES
    FACTORS = max(RANK, 1)
    load = from_bfloat16 if bfloat16_inputs else as_stored
    load_gate = from_bfloat16 if bfloat16_gate else as_stored
    store = to_bfloat16 if bfloat16_output else as_stored
    zero = float32(0)

    @cuda.jit
    def ends(u, delta, rows, weight, bias, rates, rank, states, chunk, directions, reverse, softened, state, total):
        """Run chunk blockIdx.x of q = blockIdx.z from a zero state; write `state` and `total`."""
        length, width = u.shape[1], u.shape[2]
        k, q, lane = cuda.blockIdx.x, cuda.blockIdx.z, cuda.threadIdx.x
        channel = cuda.blockIdx.y * CHANNELS + lane
        e = min(channel, width - 1)  # threads beyond the last channel help to load
        backward = reverse if directions == 1 else q % 2 == 1
        first = k * chunk
        count = min(chunk, length - first)
        if SIMULATED:
            shared = cuda.shared.array((TILE, HEAD), float32)
        else:  # aligned so that four values are loaded at once, of which the simulator knows nothing
            shared = cuda.shared.array((TILE, HEAD), float32, alignment=16)
        s = cuda.local.array(STATES, float32)
        rate = cuda.local.array(STATES, float32)
        factor = cuda.local.array(FACTORS, float32)
        for n in range(STATES):
            s[n] = zero
            rate[n] = rates[n, e]
        for r in range(RANK):
            factor[r] = weight[r, e]
        offset = bias[e]
        sum_of_steps = zero
        for begin in range(0, count, TILE):
            many = min(TILE, count - begin)
            cuda.syncthreads()
            for place in range(lane, many * HEAD, CHANNELS):
                i, column = place // HEAD, place % HEAD
                t = first + (count - 1 - begin - i if backward else begin + i)
                value = zero
                if column < RANK:
                    if column < rank:
                        value = load(rows[q, t, column])
                elif column - RANK < states:
                    value = load(rows[q, t, rank + column - RANK])
                shared[i, column] = value
            cuda.syncthreads()
            for i in range(many):
                t = first + (count - 1 - begin - i if backward else begin + i)
                step = offset
                if RANK == 0:
                    step += load(delta[q, t, e])
                for r in range(RANK):
                    step += factor[r] * shared[i, r]
                if softened:
                    step = softplus(step)
                drive = step * load(u[q, t, e])
                sum_of_steps += step
                for n in range(STATES):
                    s[n] = s[n] * exp2(step * rate[n]) + drive * shared[i, RANK + n]
        if channel < width:
            for n in range(STATES):
                state[q, k, n, channel] = s[n]
            total[q, k, channel] = sum_of_steps

    @cuda.jit
    def carry(rates, total, directions, reverse, state):
        """Turn every chunk's end from a zero state into the state in which it starts."""
        sequences, chunks, count, width = state.shape
        place = cuda.grid(1)
        if place < sequences * count * width:
            e = place % width
            n = place // width % count
            q = place // (width * count)
            backward = reverse if directions == 1 else q % 2 == 1
            rate = rates[n, e]
            start = zero
            for i in range(chunks):
                k = chunks - 1 - i if backward else i
                end = state[q, k, n, e]
                state[q, k, n, e] = start
                start = end + exp2(rate * total[q, k, e]) * start

    @cuda.jit
    def scan(
        u, delta, rows, weight, bias, rates, skip, rank, states, chunk, directions, reverse, softened,
        state, batch, gate, gate_first, gate_step, gated, sums, y,
    ):  # fmt: skip
        """Run chunk blockIdx.x of s = blockIdx.z in every direction from its true start; write y.

        `sums` holds what the first direction gave until the second one comes by: it is y where that is float32.
        """
        length, width = u.shape[1], u.shape[2]
        k, sequence, lane = cuda.blockIdx.x, cuda.blockIdx.z, cuda.threadIdx.x
        channel = cuda.blockIdx.y * CHANNELS + lane
        e = min(channel, width - 1)
        item, group = sequence % batch, sequence // batch
        target = group * width + e
        source = gate_first + group * gate_step + e
        first = k * chunk
        count = min(chunk, length - first)
        if SIMULATED:
            shared = cuda.shared.array((TILE, WIDTH), float32)
        else:  # aligned so that four values are loaded at once, of which the simulator knows nothing
            shared = cuda.shared.array((TILE, WIDTH), float32, alignment=16)
        s = cuda.local.array(STATES, float32)
        rate = cuda.local.array(STATES, float32)
        factor = cuda.local.array(FACTORS, float32)
        for n in range(STATES):
            rate[n] = rates[n, e]
        for r in range(RANK):
            factor[r] = weight[r, e]
        offset = bias[e]
        through = skip[e]
        for direction in range(directions):
            q = sequence * directions + direction
            backward = reverse if directions == 1 else direction == 1
            for n in range(STATES):
                s[n] = state[q, k, n, e]
            for begin in range(0, count, TILE):
                many = min(TILE, count - begin)
                cuda.syncthreads()
                for place in range(lane, many * WIDTH, CHANNELS):
                    i, column = place // WIDTH, place % WIDTH
                    t = first + (count - 1 - begin - i if backward else begin + i)
                    value = zero
                    if column < RANK:
                        if column < rank:
                            value = load(rows[q, t, column])
                    elif column < HEAD:
                        if column - RANK < states:
                            value = load(rows[q, t, rank + column - RANK])
                    elif column - HEAD < states:
                        value = load(rows[q, t, rank + states + column - HEAD])
                    shared[i, column] = value
                cuda.syncthreads()
                for i in range(many):
                    t = first + (count - 1 - begin - i if backward else begin + i)
                    step = offset
                    if RANK == 0:
                        step += load(delta[q, t, e])
                    for r in range(RANK):
                        step += factor[r] * shared[i, r]
                    if softened:
                        step = softplus(step)
                    x = load(u[q, t, e])
                    drive = step * x
                    out = through * x
                    for n in range(STATES):
                        s[n] = s[n] * exp2(step * rate[n]) + drive * shared[i, RANK + n]
                        out += s[n] * shared[i, HEAD + n]
                    if channel < width:
                        if direction > 0:
                            out += sums[item, t, target]
                        if direction < directions - 1:
                            sums[item, t, target] = out
                        else:
                            if gated:
                                out *= silu(load_gate(gate[item, t, source]))
                            y[item, t, target] = store(out)

    return ScanKernels(ends, carry, scan)
