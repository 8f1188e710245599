"""The inner part of a Mamba block for inference: convolution, selective scan and gate, forward and backward at once.

Reversing the tokens changes nothing in a Mamba block's in_proj, gate and out_proj, which work on each token alone; only
convolution and scan run from the other end. So both directions are computed without a reversed copy, and their sum is
gated once.
"""

from __future__ import annotations

import dataclasses

import torch
from torch.nn import functional

from NNMambaLib.kernels.blocks import BLOCKS, as_array, channels_per_job, exponents
from NNMambaLib.networks.convolution import convolve, served_by_onednn
from NNMambaLib.networks.scan.causal_convolution import causal_convolution_silu
from NNMambaLib.networks.scan.scan_parameters import ScanParameters
from NNMambaLib.networks.scan.selective_scan import resolve_backend, selective_scan
from NNMambaLib.runtime.threads import for_each

# Tokens that one call of the convolution kernel takes at most.
_TOKENS = 1024


def gated_scans(
    mixed: torch.Tensor, parameters: ScanParameters, directions: int = 2, backend: str = "auto"
) -> torch.Tensor:
    """Return the gated scans of G groups of channels, without gradient.

    A group's output is y = (scan(x) + R scan(R x)) SiLU(z), or scan(x) SiLU(z) in one direction, for its columns x and
    z of `mixed` and R, which reverses the tokens. With convolution and recurrence from the first token to the last,
    scan(x) is::

        c = SiLU(causal convolution of x)
        dt, B, C = x_proj c
        delta = softplus(dt_weight dt + dt_bias)
        s_t = exp(delta_t A) s_(t-1) + delta_t B_t c_t
        scan(x)_t = <C_t, s_t> + D c_t

    Args:
        mixed: (batch, L, G * 2E), what in_proj returns; columns g * 2E onwards are E of x and E of z.
        parameters: on the device of `mixed`.
        directions: 1: forward over the tokens only; 2: forward and backward, summed.
        backend: "auto" or a name from `selective_scan.available_backends`.

    Returns:
        (batch, L, G * E) in the type of `mixed`, group g in columns g * E onwards. Half types are computed in float32.

    Raises:
        ValueError: if the shapes do not fit together, or a gradient is wanted.
        BackendError: as in `selective_scan.resolve_backend`.
    """
    channels = len(parameters.A)
    if mixed.ndim != 3 or mixed.shape[2] % (2 * channels):
        raise ValueError(f"gated_scans needs (batch, L, a multiple of {2 * channels}), not {tuple(mixed.shape)}.")
    if directions not in (1, 2):
        raise ValueError(f"gated_scans runs in 1 or 2 directions, not {directions}.")
    fields = {field.name: getattr(parameters, field.name) for field in dataclasses.fields(parameters)}
    if torch.is_grad_enabled() and any(t.requires_grad for t in (mixed, *fields.values())):
        raise ValueError("gated_scans is for inference: call it where no gradient is wanted.")
    compute = torch.float64 if mixed.dtype == torch.float64 else torch.float32
    name = resolve_backend(backend, mixed.device, compute)
    parameters = ScanParameters(**{key: value.to(compute) for key, value in fields.items()})
    # Autocast would compute the products in half precision.
    with torch.no_grad(), torch.autocast(mixed.device.type, enabled=False):
        mixed_ = mixed.to(compute).contiguous()
        if name == "numba" and _fits_kernels(parameters):
            y = _by_kernels(mixed_, parameters, directions)
        else:
            y = _by_scans(mixed_, parameters, directions, name)
        return y.to(mixed.dtype)


@torch.inference_mode(False)
def warm_up() -> None:
    """Compile every numba kernel of inference, or load those compiled before, so that no call in use waits for it.

    That takes 10 to 20 s the first time after an installation and half a second later, on one core: call it on a thread
    that nobody waits for. Where numba cannot be used there is nothing to do.
    """
    if resolve_backend("auto", "cpu") != "numba":
        return
    for block in BLOCKS:
        channels = block * torch.get_num_threads()  # for which `channels_per_job` takes just this block
        u, z, delta = (torch.ones(1, 8, channels) for _ in range(3))
        A, D, states = -torch.ones(channels, 2), torch.ones(channels), torch.ones(1, 8, 2)
        with torch.no_grad():
            selective_scan(u, delta, A, states, states, D, z, D, True, backend="numba")
            taps, x_proj, dt_weight = torch.ones(channels, 4), torch.ones(5, channels), torch.ones(channels, 1)
            parameters = ScanParameters(taps, D, x_proj, dt_weight, D, A, D)
            gated_scans(torch.cat([u, z], dim=2), parameters, backend="numba")


def _fits_kernels(parameters: ScanParameters) -> bool:
    from NNMambaLib.kernels.gated_scan import TAPS
    from NNMambaLib.kernels.stack_memory import STATES

    taps, states = parameters.conv_weight.shape[1], parameters.A.shape[1]
    return taps <= TAPS and states <= STATES


def _by_kernels(mixed: torch.Tensor, parameters: ScanParameters, directions: int) -> torch.Tensor:
    from NNMambaLib.kernels import gated_scan

    batch, length, _ = mixed.shape
    channels, taps = parameters.conv_weight.shape
    groups = mixed.shape[2] // (2 * channels)
    sequences = [(group, item) for group in range(groups) for item in range(batch)]
    block = channels_per_job(channels, len(sequences))
    conv_weight = as_array(functional.pad(parameters.conv_weight, (gated_scan.TAPS - taps, 0)).T)
    conv_bias = as_array(parameters.conv_bias)
    # Padded to full blocks of channels, which the kernel loads without a test.
    dt_weight, dt_bias, rates, D = (
        as_array(functional.pad(t, (0, -channels % block)))
        for t in (parameters.dt_weight.T, parameters.dt_bias, exponents(parameters.A), parameters.D)
    )
    convolved = mixed.new_empty(groups, batch, directions, length, channels)
    y = mixed.new_empty(batch, length, groups * channels)
    mixed_, convolved_, y_ = mixed.numpy(), convolved.numpy(), y.numpy()

    def convolve_tokens(group, item, begin):
        x_first, end = 2 * group * channels, min(begin + _TOKENS, length)
        gated_scan.convolve(mixed_[item], x_first, conv_weight, conv_bias, convolved_[group, item], begin, end)

    def scan(group, item, first):
        gated_scan.SCANS[block](
            convolved_[group, item], projected[group, item], dt_weight, dt_bias, rates, D,
            mixed_[item], (2 * group + 1) * channels + first, y_[item], group * channels + first,
            first, min(first + block, channels),
        )  # fmt: skip

    for_each(convolve_tokens, [(*sequence, begin) for sequence in sequences for begin in range(0, length, _TOKENS)])
    projected = _product(convolved, parameters.x_proj).numpy()
    for_each(scan, [(*sequence, first) for sequence in sequences for first in range(0, channels, block)])
    return y


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return `functional.linear` of x (..., inputs), weight (outputs, inputs) and bias (outputs,)."""
    if not served_by_onednn(x):
        return functional.linear(x, weight, bias)
    # oneDNN computes 1x1x1 convolutions, and on processors by AMD it is two to four times as fast as MKL.
    volume = x.reshape(1, -1, 1, 1, x.shape[-1]).permute(0, 4, 1, 2, 3)
    product = convolve(volume, weight[:, :, None, None, None], bias)
    return product.permute(0, 2, 3, 4, 1).reshape(*x.shape[:-1], len(weight))


def _by_scans(mixed: torch.Tensor, parameters: ScanParameters, directions: int, backend: str) -> torch.Tensor:
    """Return the same as `_by_kernels`, by the parts of a Mamba block outside of inference.

    Groups and directions follow one another: as one batch they would be a tenth faster and take four times the memory.
    """
    channels, states = parameters.A.shape
    rank = parameters.dt_weight.shape[1]

    def scan(x):
        x = causal_convolution_silu(x, parameters.conv_weight, parameters.conv_bias, backend == "mamba-ssm")
        step, B, C = _product(x, parameters.x_proj).split([rank, states, states], dim=-1)
        delta = _product(step, parameters.dt_weight, parameters.dt_bias)
        return selective_scan(x, delta, parameters.A, B, C, parameters.D, delta_softplus=True, backend=backend)

    y = mixed.new_empty(*mixed.shape[:2], mixed.shape[2] // 2)
    for x_and_z, target in zip(mixed.split(2 * channels, dim=2), y.split(channels, dim=2), strict=True):
        x, z = x_and_z.chunk(2, dim=2)
        total = scan(x)
        if directions == 2:
            total += scan(x.flip(1)).flip(1)
        torch.mul(total, functional.silu(z), out=target)
    return y
