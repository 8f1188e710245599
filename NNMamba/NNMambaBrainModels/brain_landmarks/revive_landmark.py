"""Draw anew the output of a landmark that fell silent, in weights to start the last run of `brain-landmarks` from.

    python -m NNMambaBrainModels.brain_landmarks.revive_landmark --checkpoint FILE --landmark NAME --output WEIGHTS

An output whose scale has gone to zero gets no gradient and never comes back.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from NNMambaBrainModels.brain_landmarks.train import OBJECTIVE
from NNMambaBrainModels.heads.landmark_set import LANDMARKS
from NNMambaLib.training.loop.trainer import Trainer


def revive(state: dict[str, torch.Tensor], index: int) -> None:
    """Give output `index` random weights of the others' size, and the scale that outputs start with; in place."""
    weight = state["conv8.conv.3.weight"]
    generator = torch.Generator().manual_seed(index)
    weight[index] = torch.randn(weight[index].shape, generator=generator) * weight.std()
    state["conv8.conv.4.weight"][index] = OBJECTIVE.output_gain
    state["conv8.conv.4.bias"][index] = 0


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    names = [landmark.name for landmark in LANDMARKS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--landmark", choices=names, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    trainer = Trainer.resume(OBJECTIVE, options.checkpoint, device="cpu")
    state = {name: value.clone().contiguous() for name, value in trainer.averaged.state_dict().items()}
    revive(state, names.index(options.landmark))
    save_file(state, options.output)


if __name__ == "__main__":
    main()
