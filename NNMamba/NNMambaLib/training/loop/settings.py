"""The settings of the training loop, whatever is learnt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of `Trainer`; saved with its checkpoints.

    Attributes:
        steps: optimizer steps in all.
        batch_size: samples of a step in each process. With one sample torch's CPU convolutions are many times slower.
        optimizer: ``adamw``, or ``sgd`` with Nesterov's momentum of 0.99.
        learning_rate: the largest.
        schedule: how it falls to zero after the warm-up: ``cosine``, or ``poly`` (power 0.9).
        warm_up_steps: steps over which it rises linearly.
        clip_norm: largest norm of the gradient.
        average_decay: decay a step of the exponential moving average of weights and statistics.
        precision: ``float32``, ``bfloat16`` or ``float16`` (CUDA only); weights stay in float32.
        seed: of the first weights, of what is random in a step, and of the samples.
        workers: processes that make samples, for each training process; 0 makes them in the training process.
        checkpoint_every: steps between checkpoints, and between points of the curves.
        validate_every: steps between validations, a multiple of `checkpoint_every`.
    """

    steps: int = 20_000
    batch_size: int = 2
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warm_up_steps: int = 200
    weight_decay: float = 1e-2
    clip_norm: float = 5.0
    average_decay: float = 0.999
    precision: str = "float32"
    seed: int = 0
    workers: int = 2
    checkpoint_every: int = 100
    validate_every: int = 1000
