"""The causal depthwise convolution and SiLU before a selective scan."""

from __future__ import annotations

import functools

import torch
from torch.nn import functional

# Of causal-conv1d's largest difference from the plain form, as a part of the largest value.
_TOLERANCE = 1e-4


def causal_convolution_silu(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, accelerated: bool = False
) -> torch.Tensor:
    """Return SiLU of the causal depthwise convolution, (batch, L, E): each token with those before it.

    Args:
        x: (batch, L, E).
        weight: (E, taps), the last tap for the token itself.
        bias: (E,).
        accelerated: on a GPU, use the package causal-conv1d where it imports and agrees with the plain form.
    """
    if accelerated and x.is_cuda and causal_conv1d_unavailable_reason() is None:
        return causal_conv1d_silu(x, weight, bias)
    return functional.silu(_shifted_sum(x, weight, bias))


@functools.lru_cache(maxsize=1)
def causal_conv1d_unavailable_reason() -> str | None:
    """Return None where causal-conv1d imports, runs and agrees with the plain form, else the reason why not."""
    if not torch.cuda.is_available():
        return "it needs an NVIDIA GPU that torch can use"
    try:
        import causal_conv1d  # noqa: F401
    except ImportError as error:
        return f"causal-conv1d cannot be imported ({error})"
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*size, generator=generator).cuda() for size in ((2, 65, 8), (8, 4), (8,)))
    with torch.no_grad():
        expected = functional.silu(_shifted_sum(x, weight, bias))
        try:
            computed = causal_conv1d_silu(x, weight, bias)
        except RuntimeError as error:
            return f"causal-conv1d failed its self-check ({error})"
    difference = ((computed - expected).abs().max() / expected.abs().max()).item()
    return None if difference < _TOLERANCE else f"causal-conv1d differs from plain PyTorch by {difference:.1e}"


def causal_conv1d_silu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the same as `causal_convolution_silu`, by the package causal-conv1d."""
    from causal_conv1d import causal_conv1d_fn

    return causal_conv1d_fn(x.transpose(1, 2), weight, bias, activation="silu").transpose(1, 2)


def _shifted_sum(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the causal depthwise convolution, (batch, L, E), as a sum of the tokens shifted by 0, 1, ... places."""
    # The tokens stay in rows; conv1d would transpose them and back again.
    length, last = x.shape[1], weight.shape[1] - 1
    y = torch.addcmul(bias, x, weight[:, last])
    for shift in range(1, min(last, length - 1) + 1):
        y[:, shift:].addcmul_(x[:, : length - shift], weight[:, last - shift])
    return y
