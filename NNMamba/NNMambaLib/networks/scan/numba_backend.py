"""Selective scan on the CPU with numba: one fused pass, vectorized over channels, the state in the nearest cache.

Work is cut into blocks of channels; each block walks the whole sequence with its state (N x block) at hand, so that
nothing of size L x E x N exists. The kernels release the interpreter lock and run on the threads of
`runtime.threads`: numba's own threading layer, which competes with torch's, is never started.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch.nn import functional

from NNMambaLib.kernels.availability import unavailable_reason
from NNMambaLib.kernels.blocks import as_array, channels_per_job, exponents
from NNMambaLib.networks.scan.skip_and_gate import finish_delta, finish_output
from NNMambaLib.runtime.threads import for_each


def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why the backend cannot serve such tensors, None where it can."""
    if device.type != "cpu":
        return f"it runs on the CPU only, not on {device}"
    if dtype != torch.float32:
        return f"it computes in float32 only, not in {dtype}"
    return unavailable_reason()


def scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse):
    """See `selective_scan.selective_scan`."""
    tensors = [t for t in (u, delta, A, B, C, D, z, delta_bias) if t is not None]
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        y = _DifferentiableScan.apply(u, finish_delta(delta, delta_bias, delta_softplus), A, B, C, reverse)
        return finish_output(y, u, D, z)
    return _forward(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse)


def _forward(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse):
    from NNMambaLib.kernels.scan import SCANS
    from NNMambaLib.kernels.stack_memory import STATES

    if A.shape[1] > STATES:
        return _forward_in_parts(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse)
    batch, _, channels = u.shape
    block = channels_per_job(channels, batch)
    y = np.empty(u.shape, dtype=np.float32)
    u_, delta_, B_, C_ = (as_array(t) for t in (u, delta, B, C))
    # Padded to full blocks of channels, which the kernel loads without a test.
    rates, skip, bias = (
        as_array(functional.pad(t, (0, -channels % block)))
        for t in (exponents(A), *(A.new_zeros(channels) if t is None else t for t in (D, delta_bias)))
    )
    gate = u_ if z is None else as_array(z)

    def run(item, first):
        SCANS[block](
            u_[item], delta_[item], rates, B_[item], C_[item], skip, gate[item], bias, y[item],
            first, min(first + block, channels), z is not None, delta_softplus, reverse,
        )  # fmt: skip

    for_each(run, [(item, first) for item in range(batch) for first in range(0, channels, block)])
    return torch.from_numpy(y)


def _forward_in_parts(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse):
    """Return the sum of scans over as many states at a time as a kernel holds."""
    from NNMambaLib.kernels.stack_memory import STATES

    delta = finish_delta(delta, delta_bias, delta_softplus)
    parts = zip(*(t.split(STATES, dim=-1) for t in (A, B, C)), strict=True)
    outputs = (_forward(u, delta, A_, B_, C_, None, None, None, False, reverse) for A_, B_, C_ in parts)
    y = sum(outputs, start=u.new_zeros(()))
    return finish_output(y, u, D, z)


class _DifferentiableScan(torch.autograd.Function):
    """The scan without skip, gate and softplus; its backward pass recomputes the states."""

    @staticmethod
    def forward(ctx, u, delta, A, B, C, reverse):
        ctx.save_for_backward(u, delta, A, B, C)
        ctx.reverse = reverse
        return _forward(u, delta, A, B, C, None, None, None, False, reverse)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        from NNMambaLib.kernels.scan_gradient import BLOCK, scan_gradient_block

        u, delta, A, B, C = ctx.saved_tensors
        u_, delta_, B_, C_, dy_ = (as_array(t) for t in (u, delta, B, C, dy))
        rates = as_array(exponents(A))
        jobs = _gradient_jobs(u, BLOCK)
        du, d_delta = np.empty(u.shape, np.float32), np.empty(u.shape, np.float32)
        # Blocks of one batch element share dB and dC: each fills its own, and they are added in a fixed order.
        dA = np.zeros((len(jobs), *rates.shape), np.float32)
        dB, dC = (np.zeros((len(jobs), *B.shape[1:]), np.float32) for _ in range(2))

        def run(job, item, first, last):
            scan_gradient_block(
                u_[item], delta_[item], rates, B_[item], C_[item], dy_[item], du[item], d_delta[item],
                dA[job], dB[job], dC[job], first, last, ctx.reverse,
            )  # fmt: skip

        for_each(run, jobs)
        by_item = (len(u), -1)
        dB, dC = (torch.from_numpy(g).unflatten(0, by_item).sum(1) for g in (dB, dC))
        return torch.from_numpy(du), torch.from_numpy(d_delta), torch.from_numpy(dA.sum(0).T), dB, dC, None


def _gradient_jobs(u: torch.Tensor, most: int) -> list[tuple[int, int, int, int]]:
    """Return the jobs (number, batch element, first channel, end channel), each of at most `most` channels."""
    batch, _, channels = u.shape
    # Fewer channels a job where that many would leave threads without work.
    size = max(16, min(most, -(-channels // -(-torch.get_num_threads() // batch))))
    places = itertools.product(range(batch), range(0, channels, size))
    return [(number, item, first, min(first + size, channels)) for number, (item, first) in enumerate(places)]
