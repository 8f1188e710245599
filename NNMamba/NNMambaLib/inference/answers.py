"""From a classifier's logits to calibrated answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from NNMambaLib.errors import ModelError
from NNMambaLib.models.manifest import Target
from NNMambaLib.results import Prediction

if TYPE_CHECKING:
    import torch
    from torch import nn


def answer(network: nn.Module, x: torch.Tensor, targets: tuple[Target, ...]) -> tuple[Prediction, ...]:
    """Return the network's predictions for one patch (1, channel, z, y, x)."""
    import torch

    with torch.inference_mode():
        logits = network(x)[0].float().cpu().numpy()
    predictions, first = [], 0
    for target in targets:
        predictions.append(predict_target(target, logits[first : first + target.logits]))
        first += target.logits
    return tuple(predictions)


def predict_target(target: Target, logits: np.ndarray) -> Prediction:
    """Return the prediction for one target from its logits.

    Raises:
        ModelError: if they are not finite: there is no answer, and the largest of them would pass for one.
    """
    if not np.isfinite(logits).all():
        raise ModelError(
            f"The network's answer to '{target.name}' is not finite (NaN or infinity): nothing can be said of this "
            "volume; check its intensities, or use another model."
        )
    scaled = np.asarray(logits, float) / target.temperature
    if target.binary:
        # The first class has the logit 0.
        scaled = np.array([0.0, scaled[0]])
    p = np.exp(scaled - scaled.max())
    p /= p.sum()
    chosen = int(p[1] >= target.threshold) if target.binary else int(np.argmax(p))
    probabilities = {name: float(value) for name, value in zip(target.classes, p, strict=True)}
    return Prediction(target.name, probabilities, target.classes[chosen])
