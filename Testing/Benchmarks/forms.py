"""The forms of a network that the benchmarks compare, all with the same random weights."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import measure  # noqa: F401  (puts the packages on the path)
import torch
from plain_eager import PlainClassifier, PlainSegCss
from torch import nn

from helpers.perturbed_networks import perturbed_network
from NNMambaLib.networks.convolution import bfloat16_unavailable_reason
from NNMambaLib.networks.folding.fold import fold
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.networks.scan.selective_scan import available_backends
from NNMambaLib.runtime.allocation import memory_kept
from NNMambaLib.volumes.volume import Shape

_PLAIN = {"SEG-CSS": PlainSegCss, "CLS": PlainClassifier}


@dataclass(frozen=True)
class Form:
    """One way of computing a network: plain eager modules (no backend), the network as trained, or folded.

    With `bfloat16` the folded network's convolutions compute in that type, which is not exact.
    """

    name: str
    backend: str | None = None
    folded: bool = False
    bfloat16: bool = False

    @property
    def context(self) -> Callable[[], AbstractContextManager] | None:
        """The context in which the engine runs this form."""
        return memory_kept if self.folded else None

    @property
    def missing(self) -> str | None:
        """Why the form cannot be run here, or None."""
        if self.bfloat16:
            reason = bfloat16_unavailable_reason(torch.device("cpu"))
            if reason is not None:
                return reason
        return None if self.backend is None else available_backends()[self.backend]

    def build(self, variant: str, channels: int, outputs: int, width: int = 32) -> nn.Module:
        """Return the network in this form, in evaluation mode."""
        network = perturbed_network(variant, channels, outputs, base_width=width)
        if self.backend is None:
            plain = _PLAIN[variant](channels, outputs, width)
            plain.load_state_dict(network.state_dict())
            return plain.eval()
        return self.of(network)

    def of(self, network: nn.Module) -> nn.Module:
        """Return a network in this form; not for plain eager modules."""
        if self.folded:
            network = fold(network, torch.bfloat16 if self.bfloat16 else None)
        set_scan_backend(network, self.backend)
        return network


PLAIN = Form("plain eager, sequential scan")
TRAINED = (
    Form("NNMamba as trained, scan in PyTorch", "torch"),
    Form("NNMamba as trained, scan in numba", "numba"),
)
FOLDED_TORCH = Form("NNMamba folded, scan in PyTorch", "torch", folded=True)
FOLDED_NUMBA = Form("NNMamba folded, scan in numba", "numba", folded=True)
FOLDED_BFLOAT16 = Form("the same, convolutions in bfloat16", "numba", folded=True, bfloat16=True)
# Those that are exact to rounding in float32.
FORMS = (PLAIN, *TRAINED, FOLDED_TORCH, FOLDED_NUMBA)


def available_forms(forms: tuple[Form, ...] = FORMS) -> tuple[list[Form], list[str]]:
    """Return the forms that run on this machine, and a note for each of the others."""
    return (
        [form for form in forms if form.missing is None],
        [f"{form.name}: not run, {form.missing}" for form in forms if form.missing is not None],
    )


def random_volume(size: Shape, channels: int = 1) -> torch.Tensor:
    """Return noise (1, channels, z, y, x), the same in every process."""
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(1))
