"""The selective scan as its definition reads, in float64, one token after another.

Slow on purpose: this is what every backend is judged against. Arrays have the axes of the project's ``selective_scan``:
u, delta, z (batch, L, E); A (E, N); B, C (batch, L, N); D, delta_bias (E,).
"""

import numpy as np
import torch
import torch.nn.functional as F


def selective_scan(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, reverse=False):
    """Return y (batch, L, E) in float64; torch tensors in, autograd flows through every step.

    s_t = exp(delta_t A) s_(t-1) + delta_t B_t u_t;  y_t = (C_t . s_t + D u_t) * SiLU(z_t).
    ``reverse`` runs from the last token to the first.
    """
    u, delta, A, B, C, D, z, delta_bias = (_double(x) for x in (u, delta, A, B, C, D, z, delta_bias))
    if reverse:
        u, delta, B, C, z = (_reversed(x) for x in (u, delta, B, C, z))
    if delta_bias is not None:
        delta = delta + delta_bias
    if delta_softplus:
        delta = F.softplus(delta)

    decay = torch.exp(delta[..., None] * A)  # (batch, L, E, N)
    drive = (delta * u)[..., None] * B[:, :, None, :]  # (batch, L, E, N)
    state = torch.zeros_like(drive[:, 0])
    outputs = []
    for decay_t, drive_t, C_t in zip(decay.unbind(1), drive.unbind(1), C.unbind(1), strict=True):
        state = decay_t * state + drive_t
        outputs.append(torch.matmul(state, C_t[:, :, None])[..., 0])
    y = torch.stack(outputs, dim=1)

    if D is not None:
        y = y + D * u
    if z is not None:
        y = y * F.silu(z)
    return _reversed(y) if reverse else y


def selective_scan_gradients(grad, u, delta, A, B, C, D, z, delta_bias):
    """Return the gradients of sum(grad * y) by name, as float64 arrays, for a forward scan with softplus.

    The adjoint is derived by hand and run backwards in NumPy, for lengths where autograd through the loop is too slow.
    """
    grad, u, delta, A, B, C, D, z, delta_bias = (
        x.detach().double().numpy() for x in (grad, u, delta, A, B, C, D, z, delta_bias)
    )
    step = np.logaddexp(0.0, delta + delta_bias)  # softplus, (batch, L, E)
    decay = np.exp(step[..., None] * A)  # (batch, L, E, N)
    drive = (step * u)[..., None] * B[:, :, None, :]
    length = u.shape[1]

    states = np.empty_like(drive)
    state = np.zeros_like(drive[:, 0])
    for t in range(length):
        state = decay[:, t] * state + drive[:, t]
        states[:, t] = state
    y = np.einsum("blen,bln->ble", states, C) + D * u

    gate = 1.0 / (1.0 + np.exp(-z))
    grad_y = grad * z * gate
    grad_z = grad * y * gate * (1.0 + z * (1.0 - gate))

    grad_states = grad_y[..., None] * C[:, :, None, :]
    for t in range(length - 2, -1, -1):
        grad_states[:, t] += decay[:, t + 1] * grad_states[:, t + 1]

    previous = np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)
    grad_exponent = grad_states * previous * decay  # with respect to step * A
    grad_B_dot = np.einsum("blen,bln->ble", grad_states, B)
    grad_step = np.einsum("blen,en->ble", grad_exponent, A) + grad_B_dot * u
    grad_delta = grad_step * -np.expm1(-step)  # softplus'(x) = 1 - exp(-softplus(x))
    return {
        "u": grad_B_dot * step + D * grad_y,
        "delta": grad_delta,
        "A": np.einsum("blen,ble->en", grad_exponent, step),
        "B": np.einsum("blen,ble->bln", grad_states, step * u),
        "C": np.einsum("ble,blen->bln", grad_y, states),
        "D": np.einsum("ble,ble->e", grad_y, u),
        "z": grad_z,
        "delta_bias": grad_delta.sum(axis=(0, 1)),
    }


def _double(x):
    return None if x is None else x.double()


def _reversed(x):
    return None if x is None else torch.flip(x, dims=[1])
