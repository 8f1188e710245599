"""Segmentation loss: soft Dice plus cross-entropy."""

import torch
import torch.nn.functional as F


def soft_dice_loss(logits: torch.Tensor, labels: torch.Tensor, smooth: float = 1e-5) -> torch.Tensor:
    """One minus the soft Dice, averaged over the labels without background; the batch counts as one volume.

    logits: (B, K, z, y, x). labels: int64 (B, z, y, x). Returns a scalar.
    """
    probabilities = logits.softmax(dim=1)[:, 1:]
    reference = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].to(probabilities.dtype)
    over = (0, 2, 3, 4)
    intersection = (probabilities * reference).sum(over)
    total = probabilities.sum(over) + reference.sum(over)
    return 1 - ((2 * intersection + smooth) / (total + smooth)).mean()


def dice_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss plus mean cross-entropy; shapes as in `soft_dice_loss`."""
    return soft_dice_loss(logits, labels) + F.cross_entropy(logits, labels)
