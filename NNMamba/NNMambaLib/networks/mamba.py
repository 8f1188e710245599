"""The Mamba (v1) block of arXiv 2312.00752, on tokens (batch, L, channels)."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.scan.causal_convolution import causal_convolution_silu
from NNMambaLib.networks.scan.selective_scan import resolve_backend, selective_scan


class Mamba(nn.Module):
    """Selective state space block: gated, causal, linear in the number of tokens.

    Args:
        d_model: channels of a token (d).
        d_state: states of a channel (N).
        d_conv: taps of the causal depthwise convolution.
        expand: inner width E = expand * d; the step sizes have rank R = d / 16, rounded up.

    Parameter names and initial values are those of mamba-ssm's ``Mamba``, so its weights load unchanged. The scan runs
    in float32 also under autocast. `scan_backend` names the scan's backend (see `selective_scan`).
    """

    def __init__(self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2):
        super().__init__()
        inner = expand * d_model
        self.dt_rank = math.ceil(d_model / 16)
        self.d_state = d_state
        self.scan_backend = "auto"
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)  # d -> 2E: x and the gate z
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1)  # weight (E, 1, taps)
        self.x_proj = nn.Linear(inner, self.dt_rank + 2 * d_state, bias=False)  # E -> R + 2N: step sizes, B and C
        self.dt_proj = nn.Linear(self.dt_rank, inner)  # R -> E
        self.A_log = nn.Parameter(torch.empty(inner, d_state))  # (E, N)
        self.D = nn.Parameter(torch.ones(inner))  # (E,)
        self.out_proj = nn.Linear(inner, d_model, bias=False)  # E -> d
        # For a network that has shapes alone PyTorch would import its compiler here, which takes seconds.
        if not self.A_log.is_meta:
            self._initialize_state_matrix()
            self._initialize_step_sizes()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return (batch, L, d) for tokens (batch, L, d)."""
        x, z = self.in_proj(tokens).chunk(2, dim=-1)  # both (batch, L, E)
        accelerated = resolve_backend(self.scan_backend, x.device) == "mamba-ssm"
        x = causal_convolution_silu(x, self.conv_weight, self.conv_bias, accelerated)  # (batch, L, E)
        step, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], dim=-1)  # (batch, L, R or N)
        delta = functional.linear(step, self.dt_proj.weight)  # (batch, L, E); the scan adds the bias and takes softplus
        A = -torch.exp(self.A_log)  # (E, N)
        y = selective_scan(
            x, delta, A, B, C, self.D, z, self.dt_proj.bias, delta_softplus=True, backend=self.scan_backend
        )  # (batch, L, E)
        return self.out_proj(y)  # (batch, L, d)

    @property
    def conv_weight(self) -> torch.Tensor:
        """The causal convolution's weight, (E, taps), the last tap for the token itself."""
        return self.conv1d.weight[:, 0]

    @property
    def conv_bias(self) -> torch.Tensor:
        """The causal convolution's bias, (E,)."""
        assert self.conv1d.bias is not None, "Mamba's convolution has a bias"
        return self.conv1d.bias

    def _initialize_state_matrix(self) -> None:
        """Let -A be 1 to N in every channel."""
        A = torch.arange(1, self.d_state + 1, dtype=torch.float32)
        with torch.no_grad():
            self.A_log.copy_(torch.log(A).expand_as(self.A_log))

    def _initialize_step_sizes(self, smallest=1e-3, largest=0.1, floor=1e-4) -> None:
        """Draw the bias of dt_proj so that softplus(bias) is log-uniform in [smallest, largest]."""
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        low, high = math.log(smallest), math.log(largest)
        dt = torch.exp(torch.empty_like(self.dt_proj.bias).uniform_(low, high)).clamp(min=floor)
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))


@runtime_checkable
class _HasScanBackend(Protocol):
    scan_backend: str


def set_scan_backend(network: nn.Module, backend: str) -> None:
    """Make every Mamba block of a network, plain or folded, use the named scan backend (see `selective_scan`)."""
    for module in network.modules():
        if isinstance(module, _HasScanBackend):
            module.scan_backend = backend
