"""The scans of the backend `numba-cuda`: tensors brought into the form of `kernels.cuda_gated_scan`, and launches.

In numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) the same functions run on tensors of the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from NNMambaLib.kernels.blocks import exponents
from NNMambaLib.networks.scan.scan_parameters import ScanParameters
from NNMambaLib.networks.scan.skip_and_gate import finish_delta, finish_output

# States that a launch takes at most.
MOST_STATES = 16
# Threads that a multiprocessor is given: about as many as can be there at a time, with the registers that they need.
_THREADS = 1024
_SHORTEST, _LONGEST = 16, 256
# Threads of a block that carries states on.
CARRIED = 128


def scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse, chunk=None, dtype=None):
    """Return the selective scan, (batch, L, E), without gradient; see `selective_scan.selective_scan`.

    Args:
        u, delta, B, C, z: all in one type, float32, float16 or bfloat16; the state is in float32 always.
        chunk: tokens of a chunk; None chooses.
        dtype: of the result; None takes that of `u`.
    """
    dtype = dtype or u.dtype
    if A.shape[1] > MOST_STATES:
        return _scan_in_parts(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse, chunk).to(dtype)
    batch, _, channels = u.shape
    zeros = A.new_zeros(channels, dtype=torch.float32)
    work = _Work(
        u=u.contiguous(),
        delta=delta.contiguous(),
        rows=torch.cat([B, C], dim=-1),
        weight=zeros[None],
        bias=zeros if delta_bias is None else delta_bias.detach().float(),
        A=A,
        skip=zeros if D is None else D.detach().float(),
        rank=0,
    )
    y = torch.empty_like(u, dtype=dtype, memory_format=torch.contiguous_format)
    gate = None if z is None else _Gate(z.contiguous(), 0, 0)
    _run(work, batch, 1, reverse, delta_softplus, gate, y, chunk)
    return y


def _scan_in_parts(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse, chunk):
    """Return the sum of scans over as many states at a time as a launch takes."""
    u_, z_ = u.float(), None if z is None else z.float()
    delta = finish_delta(delta.float(), None if delta_bias is None else delta_bias.float(), delta_softplus)
    parts = zip(*(t.float().split(MOST_STATES, dim=-1) for t in (A, B, C)), strict=True)
    outputs = (scan(u_, delta, A_, B_, C_, None, None, None, False, reverse, chunk) for A_, B_, C_ in parts)
    y = sum(outputs, start=u_.new_zeros(()))
    return finish_output(y, u_, None if D is None else D.float(), z_)


def gated_scans(
    mixed: torch.Tensor,
    parameters: ScanParameters,
    directions: int,
    chunk: int | None = None,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Return what `gated_scans.gated_scans` does, by the kernels, without gradient.

    Args:
        mixed: (batch, L, G * 2E) in float32, float16 or bfloat16, which is read as it is.
        parameters: in float32.
        chunk: tokens of a chunk; None chooses.
        dtype: of the result; None takes that of `mixed`.
    """
    from NNMambaLib.kernels import cuda_convolution, cuda_gated_scan, cuda_launch

    mixed = mixed.contiguous()
    batch, length, _ = mixed.shape
    channels, taps = parameters.conv_weight.shape
    groups = mixed.shape[2] // (2 * channels)
    sequences = groups * batch
    weight = functional.pad(parameters.conv_weight, (cuda_convolution.TAPS - taps, 0)).T.contiguous()
    convolved = mixed.new_empty(sequences * directions, length, channels, dtype=torch.float32)
    blocks = (
        cuda_launch.blocks_for(length, cuda_convolution.RUN),
        cuda_launch.blocks_for(channels, cuda_convolution.CHANNELS),
        sequences,
    )
    convolve = cuda_convolution.convolution_kernel(mixed.dtype == torch.bfloat16)
    bias = parameters.conv_bias.contiguous()
    cuda_launch.launch(convolve, blocks, cuda_convolution.CHANNELS, mixed, weight, bias, directions, convolved)
    rows = functional.linear(convolved, parameters.x_proj)
    rank = parameters.dt_weight.shape[1]
    fused = next((width for width in cuda_gated_scan.PADDED_RANKS if width >= rank), None)
    if fused is None:
        step, rows = rows.split([rank, rows.shape[2] - rank], dim=2)
        delta, rows = functional.linear(step, parameters.dt_weight), rows.contiguous()
        rank, dt_weight = 0, parameters.dt_bias.new_zeros(1, channels)
    else:
        delta = convolved
        dt_weight = functional.pad(parameters.dt_weight.T, (0, 0, 0, fused - rank)).contiguous()
    work = _Work(
        u=convolved,
        delta=delta,
        rows=rows,
        weight=dt_weight,
        bias=parameters.dt_bias.contiguous(),
        A=parameters.A,
        skip=parameters.D.contiguous(),
        rank=rank,
    )
    y = mixed.new_empty(batch, length, groups * channels, dtype=dtype or mixed.dtype)
    _run(work, batch, directions, False, True, _Gate(mixed, channels, 2 * channels), y, chunk)
    return y


@dataclass(frozen=True)
class _Work:
    """What goes into the recurrence; see `kernels.cuda_gated_scan` for u, delta, rows, weight, bias and skip."""

    u: torch.Tensor
    delta: torch.Tensor
    rows: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    A: torch.Tensor
    skip: torch.Tensor
    rank: int


@dataclass(frozen=True)
class _Gate:
    """Where the gates are: group g has columns first + g step onwards of `values`, (batch, L, columns)."""

    values: torch.Tensor
    first: int
    step: int


def _run(
    work: _Work,
    batch: int,
    directions: int,
    reverse: bool,
    softplus: bool,
    gate: _Gate | None,
    y: torch.Tensor,
    chunk: int | None,
) -> None:
    """Run the three launches of the scan, and write y, (batch, L, columns)."""
    from NNMambaLib.kernels import cuda_gated_scan
    from NNMambaLib.kernels.cuda_launch import blocks_for, launch, multiprocessors

    sequences, length, channels = work.u.shape
    states = work.A.shape[1]
    held = next(count for count in cuda_gated_scan.PADDED_STATES if count >= states)
    half = torch.bfloat16
    kernels = cuda_gated_scan.scan_kernels(
        held,
        len(work.weight) if work.rank else 0,
        work.u.dtype == half,
        gate is not None and gate.values.dtype == half,
        y.dtype == half,
    )
    if chunk is None:
        chunk = chunk_length(length, sequences // directions * channels, multiprocessors(y.device))
    chunks = blocks_for(length, chunk)
    rates = functional.pad(exponents(work.A), (0, 0, 0, held - states)).contiguous()
    state = work.A.new_empty(sequences, chunks, held, channels, dtype=torch.float32)
    total = work.A.new_empty(sequences, chunks, channels, dtype=torch.float32)
    # What the first direction gives waits for the second in float32.
    sums = y if directions == 1 or y.dtype == torch.float32 else torch.empty_like(y, dtype=torch.float32)
    tiles = blocks_for(channels, cuda_gated_scan.CHANNELS)
    inputs = work.u, work.delta, work.rows, work.weight, work.bias, rates
    way = work.rank, states, chunk, directions, reverse, softplus
    launch(kernels.ends, (chunks, tiles, sequences), cuda_gated_scan.CHANNELS, *inputs, *way, state, total)
    lanes = sequences * held * channels
    launch(kernels.carry, blocks_for(lanes, CARRIED), CARRIED, rates, total, directions, reverse, state)
    values, first, step = (y, 0, 0) if gate is None else (gate.values, gate.first, gate.step)
    launch(
        kernels.scan, (chunks, tiles, sequences // directions), cuda_gated_scan.CHANNELS,
        *inputs, work.skip, *way, state, batch, values, first, step, gate is not None, sums, y,
    )  # fmt: skip


def chunk_length(length: int, lanes: int, multiprocessors: int) -> int:
    """Return the tokens of a chunk, so that `lanes` sequences of `length` tokens keep a GPU's multiprocessors busy."""
    chunks = math.ceil(multiprocessors * _THREADS / lanes)
    steps = math.ceil(math.ceil(length / chunks) / _SHORTEST) * _SHORTEST
    return min(max(steps, _SHORTEST), _LONGEST)
