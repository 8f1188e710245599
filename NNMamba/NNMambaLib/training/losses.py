"""Segmentation loss: soft Dice plus cross-entropy, at one resolution or several.

The reference is a membership (B, K, z, y, x) that sums to 1 over K: one-hot at full resolution, fractions where it
was averaged down.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def membership(labels: torch.Tensor, count: int) -> torch.Tensor:
    """One-hot float32 (B, count, z, y, x) of int64 labels (B, z, y, x)."""
    return F.one_hot(labels, count).movedim(-1, 1).float()


def soft_dice_loss(logits: torch.Tensor, reference: torch.Tensor, smooth: float = 1e-5) -> torch.Tensor:
    """One minus the soft Dice, averaged over the labels without background; the batch counts as one volume."""
    probabilities, reference = logits.softmax(dim=1)[:, 1:], reference[:, 1:]
    over = (0, 2, 3, 4)
    intersection = (probabilities * reference).sum(over)
    total = probabilities.sum(over) + reference.sum(over)
    return 1 - ((2 * intersection + smooth) / (total + smooth)).mean()


def dice_cross_entropy(logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss plus mean cross-entropy."""
    return soft_dice_loss(logits, reference) + F.cross_entropy(logits, reference)


def deeply_supervised(outputs: Sequence[torch.Tensor], reference: torch.Tensor) -> torch.Tensor:
    """Weighted mean of `dice_cross_entropy` over outputs at resolutions 1, 1/2, 1/4, ...

    Each weight is half the one before; the coarsest output has none, unless it is the only one.
    """
    used = outputs[: max(1, len(outputs) - 1)]
    weights = [0.5**level for level in range(len(used))]
    total = torch.zeros((), device=reference.device)
    for weight, logits in zip(weights, used, strict=True):
        if logits.shape[2:] != reference.shape[2:]:
            reference = F.avg_pool3d(reference, 2)
        total = total + weight * dice_cross_entropy(logits, reference)
    return total / sum(weights)
