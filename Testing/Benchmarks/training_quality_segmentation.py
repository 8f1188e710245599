"""What segmentation networks learn in few steps: nnMamba, published and ours, against MONAI's and nnU-Net's networks.

    python Testing/Benchmarks/training_quality_segmentation.py --seeds 0 1 2 --json figures.json

Synthetic volumes: a wavy ellipsoid with a shell of one to two voxels around it, and in it four small ellipsoids of 1.5
to 3 voxels' radius, which look alike and are told apart by where they are; six labels. Each label's intensity is drawn
anew for each volume, with noise and a smooth bias. All networks see the same samples in the same order, on one thread,
with AdamW, warm-up, a cosine schedule and the loss of this project's segmentation objective (nnMamba with its heads of
deep supervision). They are tested on other volumes after the last step, the nnMamba ones with recalibrated statistics,
as ``nnmamba train`` has them. Each training runs in a process of its own; memory is that process's peak above what it
held before its first step. Prints a Markdown table. Needs the extra ``benchmark``.
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
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from NNMambaLib.evaluation.segmentation import compare_labels
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.loop.averaging import recalibrate_batch_norm
from NNMambaLib.training.loop.optimization import learning_rate, make_optimizer
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.training.objectives.segmentation import SegmentationObjective
from NNMambaLib.volumes.volume import Volume

LABELS = ("shell", "inside", "left upper", "right upper", "left lower", "right lower")
# Centers of the four small ellipsoids, as fractions of the half axes along (z, y, x), and their radii in voxels.
PLACES, RADII = ((0.3, 0, -0.4), (0.3, 0, 0.4), (-0.3, 0, -0.4), (-0.3, 0, 0.4)), (1.5, 3.0)


def make_volumes(count: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalized volumes float32 (count, 1, size, size, size) and labels int64 (count, size, size, size)."""
    generator = np.random.default_rng(seed)
    volumes, labels = zip(*(_volume(generator, size) for _ in range(count)), strict=True)
    return torch.from_numpy(np.stack(volumes)[:, None]), torch.from_numpy(np.stack(labels))


def _volume(generator: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    shape = (size,) * 3
    axes = np.indices(shape, dtype=np.float32)
    center, half = size / 2 + generator.uniform(-2, 2, 3), size * generator.uniform(0.3, 0.4, 3)
    waves = _unit(gaussian_filter(generator.standard_normal(shape), 3))
    radius = np.sqrt(sum(((a - c) / h) ** 2 for a, c, h in zip(axes, center, half, strict=True)))
    inside = radius + 0.08 * waves < 1
    labels = np.where(inside, 2, 0)
    distance = np.asarray(distance_transform_edt(~inside))
    labels[~inside & (distance <= generator.uniform(1, 2))] = 1
    for value, place in enumerate(PLACES, start=3):
        middle = center + half * (np.array(place) + generator.uniform(-0.08, 0.08, 3))
        radii = generator.uniform(*RADII, 3)
        labels[sum(((a - m) / r) ** 2 for a, m, r in zip(axes, middle, radii, strict=True)) < 1] = value
    # The small ellipsoids of a volume look alike: what tells them apart is where they are.
    intensities = np.array([0.0, *generator.uniform(0.5, 2, 2), *[generator.uniform(2.5, 4)] * 4])
    bias = 1 + 0.1 * _unit(gaussian_filter(generator.standard_normal(shape), size / 4))
    x = intensities[labels] * bias + 0.25 * generator.standard_normal(shape)
    return _unit(x).astype(np.float32), labels.astype(np.int64)


def _unit(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / x.std()


def seg_resnet() -> nn.Module:
    from monai.networks.nets import SegResNet

    return SegResNet(3, 8, 1, len(LABELS) + 1)


def plain_conv_unet() -> nn.Module:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    features, strides = (12, 24, 48, 96), (1, 2, 2, 2)
    norm = {"norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
    nonlinearity = {"nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True}}
    outputs = len(LABELS) + 1
    return PlainConvUNet(1, 4, features, nn.Conv3d, 3, strides, 2, outputs, 2, conv_bias=True, **norm, **nonlinearity)


def objective(variant: str) -> SegmentationObjective:
    return SegmentationObjective(NetworkDescription(variant, 1, len(LABELS) + 1, 8))


# Each makes a network with random weights, or the objective that does.
NETWORKS = {
    "SEG-CSS, published": lambda: objective("SEG-CSS"),
    "SEG-CSS-FULL, ours": lambda: objective("SEG-CSS-FULL"),
    "SegResNet(8)": seg_resnet,
    "PlainConvUNet(12)": plain_conv_unet,
}


def train(made: nn.Module | SegmentationObjective, options: argparse.Namespace, seed: int) -> dict:
    """Train a network and return its figures: Dice and HD95 of the test, CPU seconds, parameters."""
    ours = isinstance(made, SegmentationObjective)
    network, learns = (made.build_network(), made) if ours else (made, objective("SEG-CSS"))
    warm_up = min(20, options.steps // 10)
    settings = TrainingSettings(steps=options.steps, learning_rate=options.rate, warm_up_steps=warm_up)
    volumes, labels = make_volumes(options.cases, options.size, seed)
    optimizer = make_optimizer(network.parameters(), settings)
    generator = torch.Generator().manual_seed(seed)
    began = time.process_time()
    network.train()
    for step in range(options.steps):
        chosen = torch.randperm(len(volumes), generator=generator)[: options.batch]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        if ours:
            learns.prepare_step(network, step / options.steps)
        optimizer.zero_grad(set_to_none=True)
        learns.loss(network(volumes[chosen]), labels[chosen]).backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
    if ours:
        learns.prepare_step(network, 1.0)
        recalibrate_batch_norm(network, DataLoader(TensorDataset(volumes, labels), batch_size=options.batch))
    seconds = time.process_time() - began
    return {"cpu seconds": seconds, **test(network, *make_volumes(options.tests, options.size, 1000 + seed))}


@torch.no_grad()
def test(network: nn.Module, volumes: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return the mean Dice over labels and cases, of the shell, inside and small labels, and the mean HD95 in voxels.

    A label that was not found at all counts as the volume's diagonal.
    """
    network.eval()
    found = torch.cat([network(part).argmax(1) for part in volumes.split(2)]).to(torch.int16).numpy()
    known = labels.to(torch.int16).numpy()
    pairs = [
        compare_labels(Volume(answer[None], np.eye(4)), Volume(truth[None], np.eye(4)))
        for answer, truth in zip(found, known, strict=True)
    ]
    diagonal = float(np.sqrt(3) * volumes.shape[-1])
    by_label = [[pair[value] for pair in pairs if value in pair] for value in range(1, len(LABELS) + 1)]
    means = [statistics.fmean(agreement.dice for agreement in label) for label in by_label]
    distances = [min(agreement.hd95, diagonal) for label in by_label for agreement in label]
    return {
        "Dice": statistics.fmean(means),
        "shell": means[0],
        "inside": means[1],
        "small": statistics.fmean(means[2:]),
        "HD95": statistics.fmean(distances),
    }


def measure(name: str, seed: int, options: argparse.Namespace) -> dict:
    """Return the figures of one training; for a fresh process."""
    # Kernels are compiled before the clock starts.
    warm = argparse.Namespace(**{**vars(options), "steps": 1, "cases": 2, "tests": 1})
    train(NETWORKS[name](), warm, seed)
    torch.manual_seed(seed)
    made, figures = NETWORKS[name](), {}
    memory = extra_memory(lambda: figures.update(train(made, options, seed)))
    network = made.build_network() if isinstance(made, SegmentationObjective) else made
    count = sum(parameter.numel() for parameter in network.parameters())
    return {"network": name, "seed": seed, "parameters": count, **figures, "memory MiB": memory / MIB}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="(all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of weights and volumes (0 1 2)")
    parser.add_argument("--steps", type=int, default=200, help="(200)")
    parser.add_argument("--batch", type=int, default=2, help="volumes of a step (2)")
    parser.add_argument("--rate", type=float, default=3e-3, help="largest learning rate (0.003)")
    parser.add_argument("--size", type=int, default=32, help="voxels along each axis (32)")
    parser.add_argument("--cases", type=int, default=40, help="volumes to learn from (40)")
    parser.add_argument("--tests", type=int, default=12, help="volumes to test with (12)")
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
    print(f"{machine(['monai', 'dynamic-network-architectures'])}.\n")
    columns = {"Dice": 2, "shell": 2, "inside": 2, "small": 2, "HD95": 1, "cpu seconds": 0, "memory MiB": 0}
    print(f"| network | parameters | {' | '.join(columns)} | Dice of each seed |\n|{'---|' * (len(columns) + 3)}")
    for name in options.networks:
        own = [run for run in runs if run["network"] == name]
        means = [f"{statistics.fmean(run[column] for run in own):.{digits}f}" for column, digits in columns.items()]
        each = ", ".join(f"{run['Dice']:.2f}" for run in own)
        print(f"| {name} | {own[0]['parameters']:,} | {' | '.join(means)} | {each} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
