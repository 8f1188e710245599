"""The numba kernels of `scan_numba`. Importing this module imports numba; the first call compiles, later ones load."""

from __future__ import annotations

import numpy as np
from numba import njit

from NNMambaLib.networks.scan_parts import BLOCK

_CHECKPOINT = 32
_OPTIONS = {"nogil": True, "cache": True, "fastmath": {"contract"}, "error_model": "numpy"}

# Minimax-like polynomials, fitted at Chebyshev nodes in float64 (largest relative error 2e-8 and 3e-8).
_LN2 = np.float32(0.6931471805599453)
_LOG2E = np.float32(1.4426950408889634)
_ROUND = np.float32(12582912.0)  # 1.5 * 2^23: adding it leaves the nearest integer in the low bits
_TINY = np.float32(-126.0)
_HUGE = np.float32(127.0)


def _fit(function, low, high, degree):
    series = np.polynomial.Chebyshev.interpolate(function, degree, domain=[low, high])
    return tuple(np.float32(c) for c in series.convert(kind=np.polynomial.Polynomial).coef)


_E0, _E1, _E2, _E3, _E4, _E5, _E6 = _fit(np.exp2, -0.5, 0.5, 6)
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8, _P9 = _fit(
    lambda x: np.log1p(x) / np.where(x == 0, 1, x) + (x == 0), 0.0, 1.0, 9
)


@njit(inline="always", **_OPTIONS)
def _exp2(x):
    """2^x in float32, x clamped to the range of normal numbers."""
    x = min(max(x, _TINY), _HUGE)
    rounded = x + _ROUND
    f = x - (rounded - _ROUND)
    p = _E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    # Scale by 2^integer in p's exponent bits. The casts are for numba, which widens int32 sums.
    exponent = np.int32(np.float32(rounded).view(np.int32) << np.int32(23))
    return np.int32(np.float32(p).view(np.int32) + exponent).view(np.float32)


@njit(inline="always", **_OPTIONS)
def _log1p(x):
    """log(1 + x) in float32 for x in [0, 1]."""
    p = _P5 + x * (_P6 + x * (_P7 + x * (_P8 + x * _P9)))
    return x * (_P0 + x * (_P1 + x * (_P2 + x * (_P3 + x * (_P4 + x * p)))))


@njit(**_OPTIONS)
def scan_block(u, delta, exponents, B, C, D, z, bias, y, first, last, gated, softplus, reverse):
    """Scan channels first..last of one batch element; u, delta, z, y (L, E), exponents (N, E), B, C (L, N)."""
    length = u.shape[0]
    states = exponents.shape[0]
    width = last - first
    state = np.zeros((states, BLOCK), np.float32)
    rates = np.zeros((states, BLOCK), np.float32)
    step = np.zeros(BLOCK, np.float32)
    drive = np.zeros(BLOCK, np.float32)
    out = np.zeros(BLOCK, np.float32)
    for n in range(states):
        for c in range(width):
            rates[n, c] = exponents[n, first + c]
    zero = np.float32(0)
    one = np.float32(1)
    for i in range(length):
        t = length - 1 - i if reverse else i
        for c in range(width):
            d = delta[t, first + c] + bias[first + c]
            if softplus:
                d = max(d, zero) + _log1p(_exp2(-abs(d) * _LOG2E))
            x = u[t, first + c]
            step[c] = d
            drive[c] = d * x
            out[c] = x * D[first + c]
        for n in range(states):
            b = B[t, n]
            w = C[t, n]
            # The full block runs also where it is partly empty: its fixed length is what lets the loop vectorise.
            for c in range(BLOCK):
                s = state[n, c] * _exp2(step[c] * rates[n, c]) + drive[c] * b
                state[n, c] = s
                out[c] += s * w
        if gated:
            for c in range(width):
                g = z[t, first + c]
                y[t, first + c] = out[c] * g / (one + _exp2(-g * _LOG2E))
        else:
            for c in range(width):
                y[t, first + c] = out[c]


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"}, error_model="numpy")
def scan_gradient_block(u, delta, exponents, B, C, dy, du, d_delta, dA, dB, dC, first, last, reverse):
    """Add the gradients of channels first..last of one batch element, the scan having no skip, gate or softplus.

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
    step = np.zeros(BLOCK, np.float32)
    drive = np.zeros(BLOCK, np.float32)
    slope = np.zeros(BLOCK, np.float32)
    from_input = np.zeros(BLOCK, np.float32)
    from_decay = np.zeros(BLOCK, np.float32)
    for n in range(states):
        for c in range(width):
            rates[n, c] = exponents[n, first + c]
    for i in range(length):
        t = length - 1 - i if reverse else i
        if i % _CHECKPOINT == 0:
            kept[i // _CHECKPOINT] = carried
        for c in range(width):
            step[c] = delta[t, first + c]
            drive[c] = step[c] * u[t, first + c]
        for n in range(states):
            b = B[t, n]
            for c in range(BLOCK):
                carried[n, c] = carried[n, c] * _exp2(step[c] * rates[n, c]) + drive[c] * b
    carried[:] = 0
    for stretch in range(stretches - 1, -1, -1):
        begin = stretch * _CHECKPOINT
        count = min(_CHECKPOINT, length - begin)
        s[0] = kept[stretch]
        for k in range(count):
            t = length - 1 - begin - k if reverse else begin + k
            for c in range(width):
                step[c] = delta[t, first + c]
                drive[c] = step[c] * u[t, first + c]
            for n in range(states):
                b = B[t, n]
                for c in range(BLOCK):
                    a = _exp2(step[c] * rates[n, c])
                    decay[k, n, c] = a
                    s[k + 1, n, c] = s[k, n, c] * a + drive[c] * b
        for k in range(count - 1, -1, -1):
            t = length - 1 - begin - k if reverse else begin + k
            for c in range(width):
                step[c] = delta[t, first + c]
                drive[c] = step[c] * u[t, first + c]
                slope[c] = dy[t, first + c]
            for c in range(BLOCK):
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
            for c in range(width):
                du[t, first + c] = step[c] * from_input[c]
                d_delta[t, first + c] = u[t, first + c] * from_input[c] + from_decay[c] * _LN2
    for n in range(states):
        for c in range(width):
            dA[n, first + c] += rates_gradient[n, c]
