"""The selective scan of Mamba (arXiv 2312.00752, equation 2 and algorithm 2) by one of several backends.

For every batch element, channel e and state n, with s before the first token equal to zero::

    s_t = exp(delta_t A) s_(t-1) + delta_t B_t u_t
    y_t = <C_t, s_t> + D u_t

Backends: ``torch`` (two passes over chunks; every device and float type), ``numba`` (CPU, float32) and
``mamba-ssm`` (CUDA, where that package imports and agrees with ``torch``). All of them are differentiable.
"""

from __future__ import annotations

import torch

from NNMambaLib.errors import BackendError
from NNMambaLib.networks.scan import mamba_ssm_backend, numba_backend, torch_backend

# In the order in which "auto" prefers them.
_BACKENDS = {"mamba-ssm": mamba_ssm_backend, "numba": numba_backend, "torch": torch_backend}


def available_backends() -> dict[str, str | None]:
    """Return for each backend's name None where it can be used on this machine, else the reason why not."""
    return {name: backend.unavailable_reason() for name, backend in _BACKENDS.items()}


def resolve_backend(
    backend: str = "auto",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> str:
    """Return the name of the backend that `selective_scan` uses for tensors on `device`, computing in `dtype`.

    Raises:
        BackendError: if `backend` is unknown, or was asked for by name and cannot serve such tensors here.
    """
    if backend != "auto" and backend not in _BACKENDS:
        raise BackendError(f"Unknown scan backend '{backend}': choose auto, {', '.join(_BACKENDS)}.")
    request = torch.device(device), dtype
    if backend == "auto":
        return next(name for name in _BACKENDS if _BACKENDS[name].refusal(*request) is None)
    reason = _BACKENDS[backend].refusal(*request)
    if reason is not None:
        raise BackendError(f"Scan backend '{backend}' cannot be used ({reason}): choose --backend auto.")
    return backend


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    reverse: bool = False,
    backend: str = "auto",
) -> torch.Tensor:
    """Run the selective scan over the token axis.

    Args:
        u, delta: input and step size, (batch, L, E).
        A: state matrix, (E, N). Negative entries decay.
        B, C: input and output matrices, (batch, L, N).
        D: skip weight, (E,).
        z: gate, (batch, L, E); the output is multiplied by SiLU(z).
        delta_bias: added to `delta` before the softplus, (E,).
        delta_softplus: apply softplus to `delta`.
        reverse: run the recurrence from the last token to the first.
        backend: "auto" or a name from `available_backends`.

    Returns:
        (batch, L, E) in the type of `u`. Half types are computed in float32.

    Raises:
        ValueError: if the shapes do not fit together.
        BackendError: as in `resolve_backend`.
    """
    _check_shapes(u, delta, A, B, C, D, z, delta_bias)
    compute = torch.float64 if u.dtype == torch.float64 else torch.float32
    name = resolve_backend(backend, u.device, compute)
    u_, delta_, A, B, C = (t.to(compute) for t in (u, delta, A, B, C))
    D, z, delta_bias = (None if t is None else t.to(compute) for t in (D, z, delta_bias))
    # Autocast would compute the products within a backend in half precision.
    with torch.autocast(u.device.type, enabled=False):
        return _BACKENDS[name].scan(u_, delta_, A, B, C, D, z, delta_bias, delta_softplus, reverse).to(u.dtype)


def _check_shapes(u, delta, A, B, C, D, z, delta_bias) -> None:
    if u.ndim != 3 or A.ndim != 2:
        raise ValueError(
            f"selective_scan needs u of (batch, L, E) and A of (E, N), not {tuple(u.shape)} and {tuple(A.shape)}."
        )
    batch, length, channels = u.shape
    states = A.shape[1]
    expected = {
        "delta": (delta, (batch, length, channels)),
        "A": (A, (channels, states)),
        "B": (B, (batch, length, states)),
        "C": (C, (batch, length, states)),
        "D": (D, (channels,)),
        "z": (z, (batch, length, channels)),
        "delta_bias": (delta_bias, (channels,)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"selective_scan needs {name} of shape {shape}, not {tuple(tensor.shape)}.")
