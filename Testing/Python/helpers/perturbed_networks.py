"""Networks whose every weight matters, for comparing outputs.

Fresh weights hide mistakes: BatchNorm is the identity, D is one, A is the same in every channel, and steps are so small
that the state hardly reaches the output. Here a flip, the tokens' order or D changes outputs by a percent or more.
"""

import torch

from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.mamba import Mamba
from NNMambaLib.networks.variants import build

# Outputs of the deep supervision heads of the variants that are published with them; None: as many as labels.
PUBLISHED_HEADS = {"SEG-NNU": None, "SEG-NNU2": 4}


def build_network(variant, in_channels, out_channels, base_width=32, deep_supervision=None):
    """Return a new network in training mode; `deep_supervision` None: with heads where it is published with them."""
    with_heads = variant in PUBLISHED_HEADS if deep_supervision is None else deep_supervision
    heads = PUBLISHED_HEADS.get(variant) or out_channels
    return build(NetworkDescription(variant, in_channels, out_channels, base_width, heads if with_heads else None))


def perturbed_network(variant, in_channels=2, out_channels=5, base_width=32, deep_supervision=None, seed=0):
    """Return a network of the variant in evaluation mode, its weights and statistics drawn from ``seed``."""
    torch.manual_seed(seed)
    network = build_network(variant, in_channels, out_channels, base_width, deep_supervision)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm3d | torch.nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
            if isinstance(module, Mamba):
                enliven(module)

        # Statistics of a volume, as training would leave them, keep every layer's output near one; then they are moved.
        for norm in norms:
            norm.momentum = 1.0
        network.train()(torch.randn(2, in_channels, 32, 32, 32))
        for norm in norms:
            norm.momentum = 0.1
            norm.running_mean.add_(torch.randn_like(norm.running_mean) * norm.running_var.sqrt(), alpha=0.2)
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.5, 2))
    return network.eval()


def random_network(variant, in_channels=1, out_channels=14, base_width=32, seed=0):
    """Return a new network in evaluation mode whose BatchNorm is not the identity.

    It amplifies rounding no more than trained networks do. A perturbed one does: its states and statistics turn one
    part in ten million into ten in a million.
    """
    torch.manual_seed(seed)
    network = build_network(variant, in_channels, out_channels, base_width)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    return network.eval()


def enliven(mamba):
    """Let the state decide much of the output and remember over a few up to hundreds of tokens."""
    mamba.conv1d.weight.mul_(2)
    mamba.x_proj.weight.mul_(2)
    mamba.dt_proj.bias.uniform_(-3, 1)
    mamba.A_log.add_(torch.randn_like(mamba.A_log), alpha=0.5).sub_(1)
    mamba.D.normal_()
