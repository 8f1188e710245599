"""What classifiers learn in few steps: nnMamba, published and by our recipe, against MONAI's resnet10.

    python Testing/Benchmarks/training_quality.py --seeds 0 1 2 --json figures.json

Two classes of volumes: with and without a bright ball of 2 to 5 voxels' radius, on varied smooth backgrounds, of which
half are inverted (then the ball is dark). All networks see the same samples in the same order, for the same steps, on
one thread, with AdamW, warm-up and a cosine schedule; volumes are mirrored at random. They are tested on other volumes
as they are after the last step. Each training runs in a process of its own; memory is that process's peak above what
it held before its first step. Prints a Markdown table. Needs the extra ``benchmark``.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from measure import MIB, extra_memory, in_fresh_process, load, machine
from monai.metrics.rocauc import compute_roc_auc
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.nn import functional

from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import build
from NNMambaLib.training.loop.optimization import learning_rate, make_optimizer
from NNMambaLib.training.loop.settings import TrainingSettings

RADII = (2.0, 5.0)  # voxels
BRIGHTNESS = 3.0  # of the ball, in standard deviations of the background


def make_volumes(count: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalized volumes (count, 1, size, size, size) and their classes (count,), 1 with a ball; half of each.

    A background is the sum of noise of two scales inside an ellipsoid, and fine noise everywhere.
    """
    generator = np.random.default_rng(seed)
    volumes = [_volume(generator, size, ball=bool(number % 2), invert=bool(number // 2 % 2)) for number in range(count)]
    return torch.from_numpy(np.stack(volumes)[:, None]), torch.arange(count) % 2


def _volume(generator: np.random.Generator, size: int, ball: bool, invert: bool) -> np.ndarray:
    axes = np.indices((size,) * 3, dtype=np.float32)
    center = size / 2 + generator.uniform(-2, 2, 3)
    half = size * generator.uniform(0.35, 0.45, 3)
    inside = sum(((a - c) / h) ** 2 for a, c, h in zip(axes, center, half, strict=True)) < 1
    shape = (size,) * 3
    texture = sum(_unit(gaussian_filter(generator.standard_normal(shape), scale)) for scale in (3, 1.5))
    x = np.where(inside, 3 + texture, 0) + 0.3 * generator.standard_normal(shape)
    if ball:
        radius = generator.uniform(*RADII)
        place = center + half * generator.uniform(-0.5, 0.5, 3)
        x[sum((a - p) ** 2 for a, p in zip(axes, place, strict=True)) < radius**2] += BRIGHTNESS * texture.std()
    return (_unit(x) * (-1 if invert else 1)).astype(np.float32)


def _unit(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / x.std()


def resnet10() -> nn.Module:
    from monai.networks.nets import resnet10 as make

    return make(spatial_dims=3, n_input_channels=1, num_classes=2, widen_factor=0.25)


def nnmamba(variant: str, width: int = 8) -> nn.Module:
    return build(NetworkDescription(variant, 1, 2, width))


# Each makes a network with random weights.
NETWORKS = {
    "CLS, as published": lambda: nnmamba("CLS"),
    "CLS-MAX, ours": lambda: nnmamba("CLS-MAX"),
    "resnet10": resnet10,
}


def train(network: nn.Module, options: argparse.Namespace, seed: int) -> dict:
    """Train the network and return figures: loss of the last fifth, accuracy and AUC of the test, CPU seconds."""
    settings = TrainingSettings(
        steps=options.steps, learning_rate=options.rate, warm_up_steps=min(20, options.steps // 10)
    )
    volumes, classes = make_volumes(options.cases, options.size, seed)
    optimizer = make_optimizer(network.parameters(), settings)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    began = time.process_time()
    network.train()
    for step in range(options.steps):
        chosen = torch.randperm(len(volumes), generator=generator)[: options.batch]
        axes = [axis for axis in (2, 3, 4) if torch.rand((), generator=generator) < 0.5]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(network(volumes[chosen].flip(axes)), classes[chosen])
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
        losses.append(loss.item())
    seconds = time.process_time() - began
    return {
        "loss": statistics.fmean(losses[-max(1, options.steps // 5) :]),
        "cpu seconds": seconds,
        **test(network, *make_volumes(options.tests, options.size, 1000 + seed)),
    }


@torch.no_grad()
def test(network: nn.Module, volumes: torch.Tensor, classes: torch.Tensor) -> dict[str, float]:
    """Return accuracy and the area under the ROC curve."""
    network.eval()
    logits = torch.cat([network(part) for part in volumes.split(4)])
    score = logits[:, 1] - logits[:, 0]
    return {
        "accuracy": ((score > 0).long() == classes).float().mean().item(),
        "AUC": float(compute_roc_auc(score, classes)),
    }


def measure(name: str, seed: int, options: argparse.Namespace) -> dict:
    """Return the figures of one training; for a fresh process."""
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    # Kernels are compiled before the clock starts.
    network(torch.zeros(2, 1, options.size, options.size, options.size)).sum().backward()
    network.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    figures = {}
    memory = extra_memory(lambda: figures.update(train(network, options, seed)))
    count = sum(parameter.numel() for parameter in network.parameters())
    return {"network": name, "seed": seed, "parameters": count, **figures, "memory MiB": memory / MIB}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="(all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of weights and volumes (0 1 2)")
    parser.add_argument("--steps", type=int, default=300, help="(300)")
    parser.add_argument("--batch", type=int, default=4, help="volumes of a step (4)")
    parser.add_argument("--rate", type=float, default=1e-3, help="largest learning rate (0.001)")
    parser.add_argument("--size", type=int, default=32, help="voxels along each axis (32)")
    parser.add_argument("--cases", type=int, default=300, help="volumes to learn from (300)")
    parser.add_argument("--tests", type=int, default=64, help="volumes to test with (64)")
    parser.add_argument("--json", type=Path, help="also write the figures of every training there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(measure(options.one, options.seeds[0], options)))
        return 0

    before = load()
    same = [f"--{name}={getattr(options, name)}" for name in ("steps", "batch", "rate", "size", "cases", "tests")]
    runs = [
        in_fresh_process(__file__, "--one", name, "--seeds", seed, *same)
        for seed in options.seeds
        for name in options.networks
    ]
    if options.json:
        options.json.write_text(json.dumps(runs, indent=1), encoding="utf-8")
    print(f"{options.steps} steps of {options.batch} at a rate of {options.rate:g}, {options.cases} volumes of")
    print(f"{options.size}^3, {options.tests} for testing, means of seeds {options.seeds}, one thread; {before}.")
    print(f"{machine(['monai'])}.\n")
    columns = {"loss": 2, "accuracy": 2, "AUC": 2, "cpu seconds": 0, "memory MiB": 0}
    print(f"| network | parameters | {' | '.join(columns)} | accuracies |\n|{'---|' * (len(columns) + 3)}")
    for name in options.networks:
        own = [run for run in runs if run["network"] == name]
        means = [f"{statistics.fmean(run[column] for run in own):.{digits}f}" for column, digits in columns.items()]
        each = ", ".join(f"{run['accuracy']:.2f}" for run in own)
        print(f"| {name} | {own[0]['parameters']:,} | {' | '.join(means)} | {each} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
