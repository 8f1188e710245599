"""Selective scan by mamba-ssm's CUDA kernel, used where the package imports and agrees with plain PyTorch."""

from __future__ import annotations

import functools

import torch

from NNMambaLib.networks.scan import torch_backend

_TOLERANCE = 1e-4


def unavailable_reason() -> str | None:
    """Return why the backend cannot be used on this machine, None where it can."""
    if not torch.cuda.is_available():
        return "it needs an NVIDIA GPU that torch can use"
    return _disagreement()


def refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return why the backend cannot serve such tensors, None where it can."""
    if device.type != "cuda":
        return f"it runs on an NVIDIA GPU only, not on {device}"
    if dtype != torch.float32:
        return f"it computes in float32 only, not in {dtype}"
    return unavailable_reason()


def scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse):
    """See `selective_scan.selective_scan`."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    def channels_first(tensor: torch.Tensor) -> torch.Tensor:
        return (tensor.flip(1) if reverse else tensor).transpose(1, 2).contiguous()

    u, delta, B, C = (channels_first(t) for t in (u, delta, B, C))
    z = None if z is None else channels_first(z)
    y = selective_scan_fn(u, delta, A, B, C, D, z=z, delta_bias=delta_bias, delta_softplus=delta_softplus)
    y = y.transpose(1, 2)
    return y.flip(1) if reverse else y


@functools.lru_cache(maxsize=1)
def _disagreement() -> str | None:
    """Return None where the kernel imports, runs and agrees with `torch_backend`, else why it is not used."""
    try:
        import mamba_ssm.ops.selective_scan_interface  # noqa: F401
    except ImportError as error:
        return f"mamba-ssm cannot be imported ({error})"
    generator = torch.Generator().manual_seed(0)

    def sample(*shape):
        return torch.randn(*shape, generator=generator).cuda()

    arguments = (
        sample(2, 96, 8), sample(2, 96, 8), -sample(8, 16).exp(), sample(2, 96, 16), sample(2, 96, 16),
        sample(8), sample(2, 96, 8), sample(8), True,
    )  # fmt: skip
    with torch.no_grad():
        expected = torch_backend.scan(*arguments, False)
        try:
            computed = scan(*arguments, False)
        except RuntimeError as error:
            return f"mamba-ssm's kernel failed its self-check ({error})"
    difference = ((computed - expected).abs().max() / expected.abs().max()).item()
    return None if difference < _TOLERANCE else f"mamba-ssm's kernel differs from plain PyTorch by {difference:.1e}"
