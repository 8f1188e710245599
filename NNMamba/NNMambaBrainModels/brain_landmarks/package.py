"""Write the `brain-landmarks` model package from a training checkpoint.

    python -m NNMambaBrainModels.brain_landmarks.package --heads DIR --sources DIR --checkpoint FILE

takes the checkpoint of the last stage, recalibrates BatchNorm, fits confidence on held-out samples, and stores the
weights in half precision. `--metrics` is a JSON list of metrics for the manifest. The card
beside it is written by hand and not touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from NNMambaBrainModels.brain_landmarks.samples import PRESENT, UNKNOWN, SyntheticLandmarks
from NNMambaBrainModels.brain_landmarks.train import NETWORK, STAGES, SYNTHESIS, load_landmarked_heads
from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.dataset import Item
from NNMambaBrainModels.heads.fetch_data import training_data
from NNMambaBrainModels.heads.landmark_set import LANDMARKS
from NNMambaBrainModels.heads.training_sources import TRAINING_SOURCES
from NNMambaLib.inference.landmarks import decode
from NNMambaLib.models.catalogue import bundled_folder
from NNMambaLib.models.manifest import (
    Channel,
    HeatmapDecoding,
    InputSpecification,
    Manifest,
    Metric,
)
from NNMambaLib.models.package import write_package
from NNMambaLib.training.calibration import fit_heatmap_decoding
from NNMambaLib.training.loop.averaging import recalibrate_batch_norm
from NNMambaLib.training.loop.trainer import Trainer
from NNMambaLib.volumes.volume import Grid

PACKAGE = bundled_folder() / "brain-landmarks"
VERSION = "0.1.0"
RECALIBRATION_SAMPLES = 48
CALIBRATION_SAMPLES = 80
CALIBRATION_SEED = 3027
CALIBRATION_OUTLIERS = 0.4
# What confidence is the probability of: the landmark is there, and no further off than this.
CALIBRATION_MM = 5.0


def calibrate(network: nn.Module, samples: Iterable[Item]) -> HeatmapDecoding:
    """Fit confidence to held-out samples: the probability that a landmark is within CALIBRATION_MM of its position."""
    spacing = np.array([SYNTHESIS.spacing] * 3)
    grid = Grid(SYNTHESIS.shape, np.diag([*spacing, 1.0]))
    anything = HeatmapDecoding(slope=1.0, intercept=1000.0)
    peaks, right = [], []
    for intensity, target in samples:
        with torch.inference_mode():
            heatmaps = network(intensity[None])[0].numpy()
        for heatmap, truth, definition in zip(heatmaps, target.numpy(), LANDMARKS, strict=True):
            if truth[3] == UNKNOWN:
                continue
            position = decode(heatmap, grid, definition, anything).position
            off = np.linalg.norm(position - truth[:3] * spacing) if position is not None else np.inf
            peaks.append(float(heatmap.max()))
            right.append(bool(truth[3] == PRESENT and off <= CALIBRATION_MM))
    print(f"calibrated on {len(peaks)} landmarks, {np.mean(right):.3f} of them right")
    return fit_heatmap_decoding(peaks, right)


@torch.no_grad()
def average(network: nn.Module, other: nn.Module) -> None:
    """Move a network's weights to the mean of both (Izmailov et al., UAI 2018); BatchNorm's statistics stay."""
    for mean, value in zip(network.parameters(), other.parameters(), strict=True):
        mean.lerp_(value, 0.5)


def make_manifest(
    steps: int, decoding: HeatmapDecoding, metrics: tuple[Metric, ...] = (), history: str = ""
) -> Manifest:
    """Return the manifest after so many steps of training; `history` says what they began from."""
    (z, y, x), spacing = SYNTHESIS.shape, SYNTHESIS.spacing
    names = [name for name in TRAINING_SOURCES if name != "09c-T2w"]
    return Manifest(
        name="brain-landmarks",
        version=VERSION,
        title="Brain landmarks (head MR)",
        description="Twenty AFIDs (AC, PC, ...) and the centroids of six deep nuclei of each side on a head MR volume.",
        task="landmarks",
        network=NETWORK,
        input=InputSpecification(
            channels=(Channel("MR", SYNTHESIS.normalization, ("t1", "t1w", "t2", "mr")),),
            patch=(x, y, z),
            spacing=(spacing, spacing, spacing),
            orientation="RAS",
        ),
        landmarks=LANDMARKS,
        heatmap=replace(decoding, slope=round(decoding.slope, 4), intercept=round(decoding.intercept, 4)),
        metrics=metrics,
        licence="Apache-2.0",
        intended_use="Demonstration and teaching. Not for clinical use.",
        provenance={
            "recipe": "python -m NNMambaBrainModels.brain_landmarks.train",
            "steps": steps,
            "seed": STAGES[-1].settings.seed,
            "data_seed": STAGES[-1].data_seed,
            "history": history,
            "confidence": f"probability of being within {CALIBRATION_MM:g} mm, fitted on unseen synthetic samples",
            "training_data": training_data([*names, "09c-afids"]),
        },
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument(
        "--average-with", type=Path, help="checkpoint of the stage before, for the mean of both stages' weights"
    )
    parser.add_argument("--history", default="", help="in words: what the training began from")
    parser.add_argument("--metrics", type=Path)
    parser.add_argument("--output", type=Path, default=PACKAGE)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    trainer = Trainer.resume(STAGES[-1].objective, options.checkpoint, device="cpu")
    heads = load_landmarked_heads(options.heads, options.sources)
    # Numbers past the last training sample, so that the statistics come from unseen ones.
    first = trainer.settings.steps * trainer.settings.batch_size
    samples = SyntheticLandmarks(heads, SYNTHESIS, STAGES[-1].data_seed, RECALIBRATION_SAMPLES, first)
    network = trainer.result()
    if options.average_with is not None:
        other = Trainer.resume(STAGES[-1].objective, options.average_with, device="cpu").result()
        average(network, other)
    recalibrate_batch_norm(network, DataLoader(samples, batch_size=2))
    held_out = SyntheticLandmarks(
        heads, SYNTHESIS, CALIBRATION_SEED, CALIBRATION_SAMPLES, outlier_probability=CALIBRATION_OUTLIERS
    )
    decoding = calibrate(network, [held_out[index] for index in range(len(held_out))])
    metrics = json.loads(options.metrics.read_text()) if options.metrics else []
    manifest = make_manifest(trainer.step, decoding, tuple(Metric(**metric) for metric in metrics), options.history)
    write_package(options.output, manifest, network, half=True)


if __name__ == "__main__":
    main()
