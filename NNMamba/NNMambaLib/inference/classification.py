"""Classification: from a prepared volume to calibrated probabilities."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from NNMambaLib.models.manifest import Target
from NNMambaLib.progress import Monitor
from NNMambaLib.results import Prediction


def classify(
    array: np.ndarray,
    network: nn.Module,
    device: torch.device,
    patch: tuple[int, int, int],
    targets: tuple[Target, ...],
    monitor: Monitor,
) -> tuple[Prediction, ...]:
    """Run the network once on the volume (channel, z, y, x), cropped or padded about its centre to `patch`."""
    monitor.stage("Classifying", 1)
    predictions = answer(network, torch.from_numpy(fit_to_patch(array, patch))[None].to(device), targets)
    monitor.step()
    return predictions


def answer(network: nn.Module, x: torch.Tensor, targets: tuple[Target, ...]) -> tuple[Prediction, ...]:
    """Return the network's predictions for one patch (1, channel, z, y, x)."""
    with torch.inference_mode():
        logits = network(x)[0].float().cpu().numpy()
    predictions, first = [], 0
    for target in targets:
        predictions.append(predict_target(target, logits[first : first + target.logits]))
        first += target.logits
    return tuple(predictions)


def predict_target(target: Target, logits: np.ndarray) -> Prediction:
    """Return the prediction for one target from its logits."""
    scaled = np.asarray(logits, float) / target.temperature
    if target.binary:
        # The first class has the logit 0.
        scaled = np.array([0.0, scaled[0]])
    p = np.exp(scaled - scaled.max())
    p /= p.sum()
    chosen = int(p[1] >= target.threshold) if target.binary else int(np.argmax(p))
    probabilities = {name: float(value) for name, value in zip(target.classes, p, strict=True)}
    return Prediction(target.name, probabilities, target.classes[chosen])


def fit_to_patch(array: np.ndarray, patch: tuple[int, int, int]) -> np.ndarray:
    """Return (channel, z, y, x) cropped or zero-padded about its centre to the size `patch` (z, y, x)."""
    fitted = np.zeros((array.shape[0], *patch), np.float32)
    source, target = [slice(None)], [slice(None)]
    for size, wanted, start in zip(array.shape[1:], patch, patch_start(array.shape[1:], patch), strict=True):
        length = min(size, wanted)
        source.append(slice(max(0, start), max(0, start) + length))
        target.append(slice(max(0, -start), max(0, -start) + length))
    fitted[tuple(target)] = array[tuple(source)]
    return fitted


def patch_start(shape: tuple[int, ...], patch: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the index (z, y, x) in the array of the first voxel of `fit_to_patch`; negative where that is padding."""
    return tuple(
        (size - wanted) // 2 if size > wanted else -((wanted - size) // 2)
        for size, wanted in zip(shape, patch, strict=True)
    )
