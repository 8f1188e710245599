"""mamba-ssm and causal-conv1d, where they import: handed their own layout, and used only if they agree.

Neither runs without an NVIDIA GPU, so stand-ins with the packages' interfaces and plain arithmetic take their place.
"""

import sys
import types

import pytest
import torch
from torch.nn import functional

from NNMambaLib import kernels
from NNMambaLib.networks.scan import causal_convolution, mamba_ssm_backend, numba_backend, torch_backend
from NNMambaLib.networks.scan.selective_scan import available_backends, resolve_backend


def channels_last(tensor):
    return None if tensor is None else tensor.transpose(1, 2)


def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """mamba-ssm's interface: u, delta, z (batch, E, L), B, C (batch, N, L)."""
    u, delta, B, C, z = (channels_last(t) for t in (u, delta, B, C, z))
    return channels_last(torch_backend.scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, False))


def causal_conv1d_fn(x, weight, bias, activation):
    """causal-conv1d's interface: x (batch, E, L)."""
    assert activation == "silu"
    taps = weight.shape[1]
    y = functional.conv1d(x, weight[:, None], bias, padding=taps - 1, groups=x.shape[1])
    return functional.silu(y[..., : x.shape[2]])


@pytest.fixture
def packages(monkeypatch):
    interface = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = selective_scan_fn
    convolution = types.ModuleType("causal_conv1d")
    convolution.causal_conv1d_fn = causal_conv1d_fn
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    monkeypatch.setitem(sys.modules, "causal_conv1d", convolution)
    return interface, convolution


@pytest.mark.parametrize("reverse", [False, True])
def test_mamba_ssm_is_handed_its_own_layout(packages, reverse):
    torch.manual_seed(0)
    tokens, channels, states = 37, 6, 4
    u, delta, z = (torch.randn(2, tokens, channels) for _ in range(3))
    B, C = (torch.randn(2, tokens, states) for _ in range(2))
    rest = -torch.rand(channels, states), B, C, torch.randn(channels), z, torch.randn(channels), True, reverse
    torch.testing.assert_close(mamba_ssm_backend.scan(u, delta, *rest), torch_backend.scan(u, delta, *rest))


def test_causal_conv1d_is_handed_its_own_layout(packages):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 19, 6), torch.randn(6, 4), torch.randn(6)
    plain = causal_convolution.causal_convolution_silu(x, weight, bias)
    torch.testing.assert_close(causal_convolution.causal_conv1d_silu(x, weight, bias), plain)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 9])
def test_plain_convolution_is_causal_from_the_first_token(length):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, length, 6), torch.randn(6, 4), torch.randn(6)
    expected = channels_last(causal_conv1d_fn(channels_last(x), weight, bias, "silu"))
    torch.testing.assert_close(causal_convolution.causal_convolution_silu(x, weight, bias), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_both_say_why_they_are_not_used():
    assert "NVIDIA GPU" in available_backends()["mamba-ssm"]
    assert "NVIDIA GPU" in causal_convolution.causal_conv1d_unavailable_reason()


def test_numba_that_cannot_be_imported_is_named_and_left_out(monkeypatch):
    """As beside a numpy that is newer than it knows."""
    numba_backend.unavailable_reason.cache_clear()
    monkeypatch.setitem(sys.modules, "NNMambaLib.kernels.scan", None)
    monkeypatch.delattr(kernels, "scan", raising=False)
    try:
        assert "numba cannot be imported" in available_backends()["numba"]
        assert resolve_backend("auto") == "torch"
    finally:
        numba_backend.unavailable_reason.cache_clear()
