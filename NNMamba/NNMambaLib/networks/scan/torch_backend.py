"""Selective scan in plain PyTorch: chunks in parallel, in two passes.

Tokens are cut into chunks of T tokens. Pass one runs every chunk from a zero state, all chunks at once, to its end
state; a short carry over the chunks gives each its true start state; pass two runs again from there and emits y.
The state held is (batch, chunks, N, E): nothing of size L x E x N is stored, forward or backward.
"""

from __future__ import annotations

import math

import torch

from NNMambaLib.networks.scan.skip_and_gate import finish_delta, finish_output

# Elements of the state block: large enough to amortize one tensor operation, small enough for a core's cache.
_WORK_SET = 2**18
# Tokens of a chunk in the differentiable form, whose backward pass stores the states of one group of chunks.
_GRADIENT_CHUNK = 16


def unavailable_reason() -> str | None:
    """Return None: plain PyTorch runs everywhere."""
    return None


def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return None: it serves every device and float type."""
    return None


def scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse):
    """See `selective_scan.selective_scan`."""
    delta = finish_delta(delta, delta_bias, delta_softplus)
    if reverse:
        u_, delta_, B, C = (t.flip(1) for t in (u, delta, B, C))
    else:
        u_, delta_ = u, delta
    inputs = (u_, delta_, A, B, C)
    if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
        y = _DifferentiableScan.apply(*inputs)
    else:
        y = _scan_in_chunks(*inputs)
    return finish_output(y.flip(1) if reverse else y, u, D, z)


def _parallel_chunks(batch: int, channels: int, states: int) -> int:
    return max(1, _WORK_SET // (batch * channels * states))


def _scan_in_chunks(u, delta, A, B, C):
    """Return y (batch, L, E) without skip or gate."""
    batch, length, channels = u.shape
    chunks = _parallel_chunks(batch, channels, A.shape[1])
    if u.device.type != "cpu":
        chunks = max(chunks, math.isqrt(length))
    size = math.ceil(length / min(chunks, math.ceil(length / 8)))
    du, delta, B, C = (_fold(t, size).flatten(0, 1) for t in (delta * u, delta, B, C))
    # The state is (batch * chunks, N, E): with E last, products with B and C run along rows, several times as fast.
    rates = _exponents(A).T.contiguous()
    state = du.new_zeros(len(du), *rates.shape)
    decay = torch.empty_like(state)
    y = torch.empty_like(du)

    def advance(t):
        torch.mul(delta[:, t, None], rates, out=decay).exp2_()
        state.mul_(decay).addcmul_(B[:, t, :, None], du[:, t, None])

    for t in range(size):
        advance(t)
    torch.mul(delta.sum(1)[:, None], rates, out=decay).exp2_()
    _carry(state.unflatten(0, (batch, -1)), decay.unflatten(0, (batch, -1)))
    for t in range(size):
        advance(t)
        y[:, t] = torch.bmm(C[:, t, None], state)[:, 0]
    return y.unflatten(0, (batch, -1)).flatten(1, 2)[:, :length]


def _carry(state, decay) -> None:
    """Turn each chunk's end state from zero into the state in which it truly starts; both (batch, chunks, N, E)."""
    start = torch.zeros_like(state[:, 0])
    for k in range(state.shape[1]):
        end = torch.addcmul(state[:, k], decay[:, k], start)
        state[:, k] = start
        start = end


def _exponents(A: torch.Tensor) -> torch.Tensor:
    """Return A log2(e): exp(x) = 2^(x log2 e), and torch's 2^x is up to four times as fast on a CPU as its exp."""
    return A * math.log2(math.e)


def _fold(tensor: torch.Tensor, size: int) -> torch.Tensor:
    """Cut (batch, L, x) into (batch, chunks, size, x), padded with zeros (which leave the state unchanged)."""
    batch, length, width = tensor.shape
    chunks = math.ceil(length / size)
    if chunks * size != length:
        tensor = torch.nn.functional.pad(tensor, (0, 0, 0, chunks * size - length))
    return tensor.reshape(batch, chunks, size, width)


class _DifferentiableScan(torch.autograd.Function):
    """The scan with a backward pass that recomputes the states group by group.

    A group is as many chunks as run in parallel. Forward keeps the state at each group's start; backward goes through
    the groups from the last to the first, recomputes the group's states and runs the adjoint recurrence

        r_t = C_t dy_t + exp(delta_(t+1) A) r_(t+1),    r_t = dLoss / ds_t

    in the same two passes, then forms every gradient from s and r.
    """

    @staticmethod
    def forward(ctx, u, delta, A, B, C):
        batch, length, channels = u.shape
        states = A.shape[1]
        group = _GRADIENT_CHUNK * _parallel_chunks(batch, channels, states)
        start = u.new_zeros(batch, channels, states)
        starts, outputs = [], []
        for first in range(0, length, group):
            tokens = slice(first, first + group)
            starts.append(start)
            _, s = _group_states(u[:, tokens], delta[:, tokens], A, B[:, tokens], start)
            start = s[:, -1, -1]
            y = torch.einsum("bkten,bktn->bkte", s, _fold(C[:, tokens], _GRADIENT_CHUNK))
            outputs.append(_unfold(y, length - first))
        ctx.save_for_backward(u, delta, A, B, C, torch.stack(starts))
        ctx.group = group
        return torch.cat(outputs, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        u, delta, A, B, C, starts = ctx.saved_tensors
        length = u.shape[1]
        du, d_delta, dB, dC = (torch.empty_like(t) for t in (u, delta, B, C))
        dA = torch.zeros_like(A)
        adjoint = torch.zeros_like(starts[0])
        for index in reversed(range(len(starts))):
            first = index * ctx.group
            tokens = slice(first, min(first + ctx.group, length))
            decay, s = _group_states(u[:, tokens], delta[:, tokens], A, B[:, tokens], starts[index])
            u_, delta_, B_, C_, dy_ = (_fold(t[:, tokens], _GRADIENT_CHUNK) for t in (u, delta, B, C, dy))
            r, adjoint = _group_adjoints(decay, delta_, A, C_, dy_, adjoint)
            rB = torch.einsum("bkten,bktn->bkte", r, B_)
            count = tokens.stop - first
            dC[:, tokens] = _unfold(torch.einsum("bkten,bkte->bktn", s, dy_), count)
            dB[:, tokens] = _unfold(torch.einsum("bkten,bkte->bktn", r, delta_ * u_), count)
            du[:, tokens] = _unfold(delta_ * rB, count)
            # r_t * exp(delta_t A) * s_(t-1), the adjoint of the exponent delta_t A.
            exponent = r.mul_(decay)
            exponent[:, :, 1:].mul_(s[:, :, :-1])
            exponent[:, 1:, 0].mul_(s[:, :-1, -1])
            exponent[:, 0, 0].mul_(starts[index])
            dA += torch.einsum("bkten,bkte->en", exponent, delta_)
            d_delta[:, tokens] = _unfold(u_ * rB + torch.einsum("bkten,en->bkte", exponent, A), count)
        return du, d_delta, dA, dB, dC


def _group_states(u, delta, A, B, start):
    """Return exp(delta A) and the states s of one group, both (batch, chunks, T, E, N)."""
    delta_ = _fold(delta, _GRADIENT_CHUNK)
    exponents = _exponents(A)
    decay = torch.exp2(delta_[..., None] * exponents)
    s = _fold(delta * u, _GRADIENT_CHUNK)[..., None] * _fold(B, _GRADIENT_CHUNK)[:, :, :, None, :]
    end = s[:, :, 0].clone()
    for t in range(1, _GRADIENT_CHUNK):
        end.mul_(decay[:, :, t]).add_(s[:, :, t])
    total = torch.exp2(delta_.sum(2)[..., None] * exponents)
    for k in range(s.shape[1]):
        s[:, k, 0].addcmul_(decay[:, k, 0], start)
        start = torch.addcmul(end[:, k], total[:, k], start)
    for t in range(1, _GRADIENT_CHUNK):
        s[:, :, t].addcmul_(decay[:, :, t], s[:, :, t - 1])
    return decay, s


def _group_adjoints(decay, delta, A, C, dy, after):
    """Return r (batch, chunks, T, E, N) of one group and exp(delta A) r at its first token.

    `after` is exp(delta A) r of the token that follows the group, (batch, E, N).
    """
    size = decay.shape[2]
    r = dy[..., None] * C[:, :, :, None, :]
    local = r[:, :, size - 1] * decay[:, :, size - 1]
    for t in reversed(range(size - 1)):
        local.add_(r[:, :, t]).mul_(decay[:, :, t])
    total = torch.exp2(delta.sum(2)[..., None] * _exponents(A))
    for k in reversed(range(decay.shape[1])):
        r[:, k, size - 1] += after
        after = torch.addcmul(local[:, k], total[:, k], after)
    for t in reversed(range(size - 1)):
        r[:, :, t].addcmul_(decay[:, :, t + 1], r[:, :, t + 1])
    return r, after


def _unfold(tensor: torch.Tensor, length: int) -> torch.Tensor:
    return tensor.flatten(1, 2)[:, :length]
