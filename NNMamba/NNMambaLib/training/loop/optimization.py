"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from NNMambaLib.training.loop.settings import TrainingSettings

_MOMENTUM = 0.99
_POLY_POWER = 0.9


def make_optimizer(parameters: Iterable[torch.nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimizer that the settings name."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=_MOMENTUM, nesterov=True, weight_decay=decay)
    raise ValueError(f"unknown optimizer {settings.optimizer}")


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step, counted from 0: a linear warm-up, then down to zero at the last step."""
    if step < settings.warm_up_steps:
        return settings.learning_rate * (step + 1) / settings.warm_up_steps
    done = min(1.0, (step - settings.warm_up_steps) / max(1, settings.steps - settings.warm_up_steps))
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if settings.schedule == "poly":
        return settings.learning_rate * (1 - done) ** _POLY_POWER
    raise ValueError(f"unknown schedule {settings.schedule}")
