"""Float32 arithmetic for numba kernels whose loops are to vectorize.

It is compiled into each kernel, but numba's cache on disk depends on the kernel's own file alone. So each of those
files names the digest of this one and `stack_memory`; a test fails until it is renewed after a change.
"""

from __future__ import annotations

import numpy as np
from numba import njit

OPTIONS = {"nogil": True, "cache": True, "fastmath": {"contract"}, "error_model": "numpy"}
LOG2E = np.float32(1.4426950408889634)
LN2 = np.float32(0.6931471805599453)

_ROUND = np.float32(12582912.0)  # 1.5 * 2^23: adding it leaves the nearest integer in the low bits
_TINY = np.float32(-126.0)
_HUGE = np.float32(127.0)
_ZERO = np.float32(0)
_ONE = np.float32(1)


def _fit(function, low, high, degree):
    """Return the coefficients of a polynomial fitted at Chebyshev nodes in float64, lowest power first."""
    series = np.polynomial.Chebyshev.interpolate(function, degree, domain=[low, high])
    return tuple(np.float32(c) for c in series.convert(kind=np.polynomial.Polynomial).coef)


# 2^x = 1 + x E(x) and log(1 + x) = x P(x), largest relative errors 1e-8 and 3e-8.
_E0, _E1, _E2, _E3, _E4, _E5 = _fit(
    lambda x: np.where(x == 0, np.log(2), np.expm1(x * np.log(2)) / np.where(x == 0, 1, x)), -0.5, 0.5, 5
)
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8, _P9 = _fit(
    lambda x: np.log1p(x) / np.where(x == 0, 1, x) + (x == 0), 0.0, 1.0, 9
)


@njit(inline="always", **OPTIONS)
def exp2(x):
    """2^x in float32, x clamped to the range of normal numbers."""
    return decay(min(x, _HUGE))


@njit(inline="always", **OPTIONS)
def decay(x):
    """2^x in float32 for x <= 0, clamped to the range of normal numbers."""
    x = max(x, _TINY)
    rounded = x + _ROUND
    f = x - (rounded - _ROUND)
    # In pairs, which the processor computes in parallel.
    p = _ONE + f * ((_E0 + f * _E1) + f * f * ((_E2 + f * _E3) + f * f * (_E4 + f * _E5)))
    # Scale by 2^integer in p's exponent bits. The casts keep numba from widening int32 sums.
    exponent = np.int32(np.float32(rounded).view(np.int32) << np.int32(23))
    return np.int32(np.float32(p).view(np.int32) + exponent).view(np.float32)


@njit(inline="always", **OPTIONS)
def softplus(x):
    """log(1 + exp(x)) in float32."""
    e = decay(-abs(x) * LOG2E)
    p = _P5 + e * (_P6 + e * (_P7 + e * (_P8 + e * _P9)))
    return max(x, _ZERO) + e * (_P0 + e * (_P1 + e * (_P2 + e * (_P3 + e * (_P4 + e * p)))))


@njit(inline="always", **OPTIONS)
def silu(x):
    """x / (1 + exp(-x)) in float32."""
    return x / (_ONE + exp2(-x * LOG2E))
