"""The CUDA kernel of the causal depthwise convolution and SiLU. Importing this module imports numba-cuda."""

from __future__ import annotations

import functools

from numba import cuda, float32

from NNMambaLib.kernels.cuda_arithmetic import CHANNELS, SIMULATED, as_stored, from_bfloat16, silu

# Taps that the kernel takes; fewer are padded with zeros in front.
TAPS = 4
# Tokens of a thread, which keeps those around the present one in registers.
RUN = 3 if SIMULATED else 16


@functools.cache
def convolution_kernel(bfloat16: bool = False):
    """Return the kernel, for a `mixed` of bfloat16 as uint16, or of float32 or float16."""
    load = from_bfloat16 if bfloat16 else as_stored
    zero = float32(0)

    @cuda.jit
    def convolve(mixed, weight, bias, directions, y):
        """Write SiLU of each token's convolution with those before it and, as direction 1, with those after it.

        mixed (batch, L, G * 2E), group g in columns 2 g E onwards; weight (TAPS, E), the last tap for the token itself;
        bias (E,); y (G * batch * directions, L, E) in float32, q = (group * batch + item) * directions + direction.
        """
        batch, length = mixed.shape[0], mixed.shape[1]
        width = y.shape[2]
        sequence = cuda.blockIdx.z
        e = cuda.blockIdx.y * CHANNELS + cuda.threadIdx.x
        if e < width:
            item = sequence % batch
            column = sequence // batch * 2 * width + e
            first = cuda.blockIdx.x * RUN
            w0, w1, w2, w3 = weight[0, e], weight[1, e], weight[2, e], weight[3, e]
            offset = bias[e]
            # The token itself, three before it and three after it.
            x0 = load(mixed[item, first - 3, column]) if first >= 3 else zero
            x1 = load(mixed[item, first - 2, column]) if first >= 2 else zero
            x2 = load(mixed[item, first - 1, column]) if first >= 1 else zero
            x3 = load(mixed[item, first, column])
            x4 = load(mixed[item, first + 1, column]) if first + 1 < length else zero
            x5 = load(mixed[item, first + 2, column]) if first + 2 < length else zero
            for t in range(first, min(first + RUN, length)):
                x6 = load(mixed[item, t + 3, column]) if t + 3 < length else zero
                q = sequence * directions
                y[q, t, e] = silu(offset + w3 * x3 + w2 * x2 + w1 * x1 + w0 * x0)
                if directions == 2:
                    y[q + 1, t, e] = silu(offset + w3 * x3 + w2 * x4 + w1 * x5 + w0 * x6)
                x0, x1, x2, x3, x4, x5 = x1, x2, x3, x4, x5, x6

    return convolve
