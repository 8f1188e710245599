"""Reset the output of a landmark that is never found, in weights to start the next stage of `brain-landmarks` from.

    python -m NNMambaBrainModels.brain_landmarks.revive_landmark --checkpoint FILE --landmark NAME --output WEIGHTS

An output whose scale has fallen to zero gets no gradient, so that training cannot bring it back.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from NNMambaBrainModels.brain_landmarks.train import OBJECTIVE
from NNMambaBrainModels.command_line import command_parser
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
    """Run the command that the module's docstring describes."""
    names = [landmark.name for landmark in LANDMARKS]
    parser = command_parser(__doc__)
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
