"""The form of a network for inference on a CPU: the same function in fewer and faster steps.

The plain network stays the definition, and is what is trained; the folded one is made from it, computed in float64, and
has the same `forward`. What is folded is told in `folded_convolution`, `folded_mamba` and
`folded_upsampling`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.folding.folded_convolution import FoldedConvolution, fold_batch_norm
from NNMambaLib.networks.folding.folded_mamba import FoldedConvMamba, FoldedLayerNormMamba
from NNMambaLib.networks.folding.folded_upsampling import FoldedUpsampledDoubleConv
from NNMambaLib.networks.layers import BasicBlock, ConvMamba, DoubleConv, LayerNormMamba, UpsampledDoubleConv


def fold(network: nn.Module, convolutions: torch.dtype | None = None) -> nn.Module:
    """Return the folded form of a network of `variants`; it cannot be trained.

    Args:
        network: in evaluation mode.
        convolutions: type that convolutions outside of Mamba layers compute in, such as bfloat16; None takes the
            network's own, which the outputs always have.

    Raises:
        ValueError: if the network is in training mode, or does not end in the rectifier that it was published with.
    """
    if network.training:
        raise ValueError("Only a network in evaluation mode can be folded: call eval() first.")
    own = next((parameter.dtype for parameter in network.parameters()), torch.get_default_dtype())
    return _Folding(convolutions or own, own).within(copy.deepcopy(network)).requires_grad_(False)


@dataclass
class _Folding:
    """The type of convolutions, that of everything else, and the forms of parts so far: shared parts stay shared."""

    convolutions: torch.dtype
    rest: torch.dtype
    forms: dict[nn.Module, nn.Module] = field(default_factory=dict)

    def within(self, module: nn.Module) -> nn.Module:
        """Replace every part of a module that has a folded form, and return the module."""
        for name, part in module.named_children():
            setattr(module, name, self.form(part))
        return module

    def form(self, part: nn.Module) -> nn.Module:
        if part not in self.forms:
            self.forms[part] = _FORMS.get(type(part), _Folding.within)(self, part)
        return self.forms[part]

    def basic_block(self, block: BasicBlock) -> nn.Module:
        return _FoldedBasicBlock(block, self)

    def double_conv(self, block: DoubleConv) -> nn.Module:
        first, norm1, _, second, norm2, last = block.conv
        if not isinstance(last, nn.ReLU):
            raise ValueError(f"A network that ends in {last} cannot be folded: finish its training first.")
        if isinstance(block, UpsampledDoubleConv):
            pairs = ((first, norm1), (second, norm2))
            folded = (fold_batch_norm(*pair) for pair in pairs)
            return FoldedUpsampledDoubleConv(*folded, self.convolutions, self.rest)
        return nn.Sequential(self.convolution(first, norm1, relu=True), self.convolution(second, norm2, relu=True))

    def conv_mamba(self, layer: ConvMamba) -> nn.Module:
        return FoldedConvMamba(layer, self.rest)

    def layer_norm_mamba(self, layer: LayerNormMamba) -> nn.Module:
        return FoldedLayerNormMamba(layer, self.rest)

    def convolution(self, convolution: nn.Conv3d, norm: nn.BatchNorm3d, relu: bool = False) -> nn.Module:
        return FoldedConvolution.of(convolution, norm, self.convolutions, relu)


_FORMS: dict[type[nn.Module], Callable[[_Folding, nn.Module], nn.Module]] = {
    BasicBlock: _Folding.basic_block,
    DoubleConv: _Folding.double_conv,
    UpsampledDoubleConv: _Folding.double_conv,
    ConvMamba: _Folding.conv_mamba,
    LayerNormMamba: _Folding.layer_norm_mamba,
}


class _FoldedBasicBlock(nn.Module):
    def __init__(self, block: BasicBlock, folding: _Folding):
        super().__init__()
        self.conv1 = folding.convolution(block.conv1, block.bn1, relu=True)
        self.conv2 = folding.convolution(block.conv2, block.bn2)
        self.mamba_layer = None if block.mamba_layer is None else folding.form(block.mamba_layer)
        self.downsample = None if block.downsample is None else folding.convolution(*block.downsample)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(self.conv1(x))
        if self.mamba_layer is not None:
            y.add_(self.mamba_layer(x))
        return functional.relu_(y.add_(x if self.downsample is None else self.downsample(x)))
