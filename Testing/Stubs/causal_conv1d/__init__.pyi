"""For the type checker alone: the package installs beside an NVIDIA GPU's compiler only."""

from torch import Tensor

def causal_conv1d_fn(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str | None = None
) -> Tensor: ...
