"""The folded form of a whole network; the package's docstring says what is folded into what."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.folding.folded_convolution import FoldedConvolution, fold_batch_norm
from NNMambaLib.networks.folding.folded_mamba import FoldedConvMamba, FoldedLayerNormMamba
from NNMambaLib.networks.folding.folded_upsampling import FoldedUpsampledDoubleConv
from NNMambaLib.networks.layers import BasicBlock, ConvMamba, DoubleConv, LayerNormMamba, UpsampledDoubleConv

# The layers of `DoubleConv.conv`; training puts another activation in place of the last one.
_DoubleConvLayers = tuple[nn.Conv3d, nn.BatchNorm3d, nn.ReLU, nn.Conv3d, nn.BatchNorm3d, nn.Module]


def fold(network: nn.Module, convolutions: torch.dtype | None = None) -> nn.Module:
    """Return the folded form of a network of `variants`; it cannot be trained.

    Args:
        network: in evaluation mode; it stays as it is.
        convolutions: type that convolutions outside of Mamba layers compute in, such as bfloat16; None takes the
            network's own, which the outputs always have.

    Raises:
        ValueError: if the network is in training mode, or does not end in the ReLU that it was published with.
    """
    if network.training:
        raise ValueError("Only a network in evaluation mode can be folded: call eval() first.")
    own = next((parameter.dtype for parameter in network.parameters()), torch.get_default_dtype())
    return _Folding(convolutions or own, own).within(copy.deepcopy(network)).requires_grad_(False)


@dataclass
class _Folding:
    """One folding of a network.

    Attributes:
        convolutions: type that convolutions compute in.
        rest: type of everything else.
        folded: the folded form of each part so far, so that shared parts stay shared.
    """

    convolutions: torch.dtype
    rest: torch.dtype
    folded: dict[nn.Module, nn.Module] = field(default_factory=dict)

    def within(self, module: nn.Module) -> nn.Module:
        """Replace every part of a module that has a folded form, and return the module."""
        for name, part in module.named_children():
            setattr(module, name, self.form(part))
        return module

    def form(self, part: nn.Module) -> nn.Module:
        """Return the folded form of a part; one that has none stays, with its own parts folded."""
        if part not in self.folded:
            self.folded[part] = _FORMS.get(type(part), _Folding.within)(self, part)
        return self.folded[part]

    def basic_block(self, block: BasicBlock) -> nn.Module:
        return _FoldedBasicBlock(block, self)

    def double_conv(self, block: DoubleConv) -> nn.Module:
        conv1, norm1, _, conv2, norm2, last = cast(_DoubleConvLayers, tuple(block.conv))
        if not isinstance(last, nn.ReLU):
            raise ValueError(f"A network that ends in {last} cannot be folded: finish its training first.")
        if isinstance(block, UpsampledDoubleConv):
            first, second = fold_batch_norm(conv1, norm1), fold_batch_norm(conv2, norm2)
            return FoldedUpsampledDoubleConv(first, second, self.convolutions, self.rest)
        return nn.Sequential(self.convolution(conv1, norm1, relu=True), self.convolution(conv2, norm2, relu=True))

    def conv_mamba(self, layer: ConvMamba) -> nn.Module:
        return FoldedConvMamba(layer, self.rest)

    def layer_norm_mamba(self, layer: LayerNormMamba) -> nn.Module:
        return FoldedLayerNormMamba(layer, self.rest)

    def convolution(self, convolution: nn.Conv3d, norm: nn.BatchNorm3d, relu: bool = False) -> nn.Module:
        return FoldedConvolution.of(convolution, norm, self.convolutions, relu)


_FORMS: dict[type[nn.Module], Callable[[_Folding, Any], nn.Module]] = {
    BasicBlock: _Folding.basic_block,
    DoubleConv: _Folding.double_conv,
    UpsampledDoubleConv: _Folding.double_conv,
    ConvMamba: _Folding.conv_mamba,
    LayerNormMamba: _Folding.layer_norm_mamba,
}


class _FoldedBasicBlock(nn.Module):
    """`BasicBlock` with its BatchNorm folded."""

    def __init__(self, block: BasicBlock, folding: _Folding):
        super().__init__()
        self.conv1 = folding.convolution(block.conv1, block.bn1, relu=True)
        self.conv2 = folding.convolution(block.conv2, block.bn2)
        self.mamba_layer = None if block.mamba_layer is None else folding.form(block.mamba_layer)
        self.downsample = None
        if block.downsample is not None:
            self.downsample = folding.convolution(*cast(tuple[nn.Conv3d, nn.BatchNorm3d], tuple(block.downsample)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(self.conv1(x))
        if self.mamba_layer is not None:
            y.add_(self.mamba_layer(x))
        return functional.relu_(y.add_(x if self.downsample is None else self.downsample(x)))
