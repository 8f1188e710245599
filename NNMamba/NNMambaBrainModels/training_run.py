"""A training run of a bundled model: start or resume, and report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from NNMambaBrainModels.command_line import command_parser
from NNMambaLib.networks.state_dicts import expand_shared_layers
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.training.loop.trainer import CurvePoint, MakeDataset, Trainer
from NNMambaLib.training.objectives.objective import Objective


def training_parser(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all trainings have; see `command_parser`."""
    parser = command_parser(docstring)
    parser.add_argument("--heads", type=Path, required=True, help="head models, by `label_maps` and `abagen_heads`")
    parser.add_argument("--checkpoint", type=Path, required=True, help="resumed from where it exists")
    parser.add_argument("--initial", type=Path, help="weights (.safetensors) to start from, where they fit")
    parser.add_argument("--steps", type=int, help="steps in all; given to a run that is resumed, it moves its end")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def run_training(
    options: argparse.Namespace,
    objective: Objective,
    settings: TrainingSettings,
    make_dataset: MakeDataset,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> Trainer:
    """Train, or resume from `options.checkpoint`, and print a line at each checkpoint.

    Args:
        options: of `training_parser`.
        validate: returns what to print of the averaged network at a checkpoint, by name.
    """
    torch.set_num_threads(options.threads)
    if options.checkpoint.exists():
        trainer = Trainer.resume(objective, options.checkpoint, steps=options.steps, device="cpu")
    else:
        trainer = Trainer(objective, replace(settings, steps=options.steps or settings.steps), device="cpu")
        if options.initial is not None:
            taken = start_from(trainer, options.initial)
            print(f"{taken} tensors taken from {options.initial}", flush=True)

    def report(progress: CurvePoint) -> None:
        metrics = "".join(f"  {name} {value:.4f}" for name, value in progress.metrics.items())
        print(f"step {progress.step}/{trainer.settings.steps}  loss {progress.loss:.4f}{metrics}", flush=True)

    trainer.run(make_dataset, options.checkpoint, report, validate)
    return trainer


def start_from(trainer: Trainer, weights: Path) -> int:
    """Copy every tensor of a safetensors file whose name and shape fit; return how many did."""
    given = expand_shared_layers({name: value.float() for name, value in load_file(weights).items()})
    own = trainer.network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    for network in (trainer.network, trainer.averaged):
        network.load_state_dict(fitting, strict=False)
    return len(fitting)
