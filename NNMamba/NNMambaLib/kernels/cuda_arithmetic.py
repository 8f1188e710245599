"""Arithmetic of the CUDA kernels: in float32, whatever the arrays hold.

The functions are compiled into the kernels that call them. In numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) they run
as they stand, so each result is cast to float32, as the processor has it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import config
from numba.extending import register_jitable

# In the simulator every thread is one of Python's: blocks and tiles are small there, which also lets short sequences
# cross their borders.
SIMULATED = bool(config.ENABLE_CUDASIM)
# Channels of a block. With 64, networks of every published width leave no thread idle.
CHANNELS = 4 if SIMULATED else 64
# Tokens whose rows a block has in shared memory at a time.
TILE = 4 if SIMULATED else 16

_ONE = np.float32(1)
# Beyond it, log(1 + exp(x)) is x in float32; torch's softplus has the same threshold.
_LINEAR = np.float32(20)


@register_jitable
def as_stored(value):
    """Return a float16 or float32 as float32."""
    return np.float32(value)


@register_jitable
def from_bfloat16(bits):
    """Return a bfloat16, given as uint16, as float32: its bits are the upper half."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@register_jitable
def to_bfloat16(value):
    """Return a float32 as the nearest bfloat16, in uint16; ties go to even. NaN stays NaN."""
    if value != value:
        return np.uint16(0x7FC0)
    bits = np.float32(value).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))


@register_jitable
def exp2(x):
    """2^x."""
    return np.float32(math.exp2(x))


@register_jitable
def softplus(x):
    """log(1 + exp(x))."""
    return x if x > _LINEAR else np.float32(math.log1p(math.exp(x)))


@register_jitable
def silu(x):
    """x / (1 + exp(-x)); exp(-x) is infinite for large negative x, and the quotient zero."""
    return np.float32(x / (_ONE + np.float32(math.exp(-x))))
