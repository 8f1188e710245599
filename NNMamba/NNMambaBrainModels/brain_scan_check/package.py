"""Write the `brain-scan-check` model package from a training checkpoint.

    python -m NNMambaBrainModels.brain_scan_check.package --stage 1 --heads DIR --checkpoint FILE --output DIR
    python -m NNMambaBrainModels.brain_scan_check.package --heads DIR --checkpoint FILE

recalibrates BatchNorm on synthetic samples, fits a temperature for each target on samples of held-out heads,
measures on further ones, and stores the weights in half precision, or in float32 with `--full-precision`, to compare.
The model card beside them is written by hand and not touched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from NNMambaBrainModels.brain_scan_check.samples import (
    CLASSES,
    ScanCheckSamples,
    ScanCheckSettings,
)
from NNMambaBrainModels.brain_scan_check.train import (
    CALIBRATION_HEADS,
    NETWORK,
    STAGES,
    TRAINING_HEADS,
    Stage,
    load_soft_heads,
)
from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.fetch_data import training_data
from NNMambaBrainModels.heads.training_sources import TEMPLATE_SOURCES
from NNMambaLib.evaluation.classification import reliability
from NNMambaLib.models.catalogue import bundled_folder
from NNMambaLib.models.manifest import Channel, InputSpecification, Manifest, Metric, Target
from NNMambaLib.models.package import write_package
from NNMambaLib.runtime.child_python import iterate_safely
from NNMambaLib.training.calibration import fit_temperature, scaled_probabilities
from NNMambaLib.training.loop.averaging import recalibrate_batch_norm
from NNMambaLib.training.loop.trainer import Trainer

VERSION = "0.1.0"
PACKAGE = bundled_folder() / "brain-scan-check"
AXES = ("first", "second", "third")
DIRECTIONS = ("left-or-right", "anterior", "posterior", "superior", "inferior")
CONTRASTS = ("T1-like", "T2-like", "PD-like", "FLAIR-like")
TARGETS = (*((f"{axis} array axis points to", DIRECTIONS) for axis in AXES), ("contrast", CONTRASTS))
RECALIBRATION_SAMPLES = 512
CALIBRATION_SEED = 2027
CALIBRATION_SAMPLES = 2000
COMMAND = "python -m NNMambaBrainModels.brain_scan_check.package --heads DIR --checkpoint FILE"
_BATCH = 16


def make_manifest(
    stages: Sequence[Stage], temperatures: tuple[float, ...], metrics: tuple[Metric, ...] = (), history: str = ""
) -> Manifest:
    """Return the manifest of a network trained in `stages`; `history` says how the run went."""
    settings = ScanCheckSettings()
    return Manifest(
        name="brain-scan-check",
        version=VERSION,
        title="Brain scan check (head MR)",
        description=(
            "Of a head MR volume: the anatomical direction that each axis of the array points to as it is stored "
            "(first, second, third: i, j, k), left and right being one class, and the kind of contrast. It shows "
            "whether a header tells the truth; it diagnoses nothing."
        ),
        task="classification",
        network=NETWORK,
        input=InputSpecification(
            channels=(Channel("MR", settings.normalization, ("mr", "t1", "t2", "flair")),),
            patch=settings.shape,
            spacing=(settings.spacing, settings.spacing, settings.spacing),
            orientation=None,
            axes="array",
        ),
        targets=tuple(
            Target(name, classes, temperature=temperature)
            for (name, classes), temperature in zip(TARGETS, temperatures, strict=True)
        ),
        metrics=metrics,
        licence="Apache-2.0",
        intended_use="Demonstration, teaching and checks of research data. It diagnoses nothing. Not for clinical use.",
        provenance={
            "recipe": "python -m NNMambaBrainModels.brain_scan_check.train",
            "history": history,
            "stages": [_describe(stage) for stage in stages],
            "recalibration_samples": RECALIBRATION_SAMPLES,
            "calibration_seed": CALIBRATION_SEED,
            "calibration_samples": CALIBRATION_SAMPLES,
            "training_heads": TRAINING_HEADS,
            "calibration_heads": CALIBRATION_HEADS,
            "training_data": training_data(TEMPLATE_SOURCES),
        },
    )


def _describe(stage: Stage) -> dict[str, Any]:
    """Return all numbers of a stage of training, for the manifest."""
    objective = {name: getattr(stage.objective, name) for name in ("leak", "leak_until", "contrast_weight")}
    return {**asdict(stage.settings), "data_seed": stage.data_seed, **objective}


def calibrate(network: nn.Module, samples: ScanCheckSamples) -> tuple[tuple[float, ...], tuple[Metric, ...]]:
    """Return each target's temperature, fitted on the first half of the samples, and metrics of the second half."""
    logits, wanted = _answers(network, samples)
    half = len(samples) // 2
    temperatures, metrics = [], []
    for (name, _), part, p in zip(TARGETS, _split(logits), _split(wanted), strict=True):
        # Neither outliers, all of whose classes are alike, nor unknown contrasts.
        known = p.max(1) == 1
        classes = p.argmax(1)
        fitted, measured = known & (np.arange(len(p)) < half), known & (np.arange(len(p)) >= half)
        temperatures.append(round(fit_temperature(part[fitted], classes[fitted]), 3))
        data = f"{measured.sum()} synthetic volumes of heads not trained on"
        for when, temperature in (("before", 1.0), ("after", temperatures[-1])):
            probabilities = scaled_probabilities(part[measured], temperature)
            right = probabilities.argmax(1) == classes[measured]
            error = reliability(probabilities.max(1), right).calibration_error
            metrics.append(Metric(f"Calibration error {when} scaling, {name}", round(error, 4), data, COMMAND))
        metrics.append(Metric(f"Accuracy, {name}", round(float(right.mean()), 4), data, COMMAND))
        outliers = (p.max(1) < 1) & (p.max(1) > 0)
        confidence = scaled_probabilities(part[outliers], temperatures[-1]).max(1).mean()
        data = f"{outliers.sum()} synthetic outliers"
        metrics.append(Metric(f"Mean largest probability, {name}", round(float(confidence), 4), data, COMMAND))
    return tuple(temperatures), tuple(metrics)


@torch.inference_mode()
def _answers(network: nn.Module, samples: ScanCheckSamples) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and wanted probabilities of all samples, float32 (sample, 19) each."""
    batches = iterate_safely(DataLoader(samples, _BATCH, num_workers=1))
    pairs = [(network(volumes), wanted) for volumes, wanted in batches]
    logits, wanted = (torch.cat(parts).numpy() for parts in zip(*pairs, strict=True))
    return logits, wanted


def _split(values: np.ndarray) -> Iterator[np.ndarray]:
    yield from np.split(values, np.cumsum(CLASSES)[:-1], axis=1)


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=PACKAGE)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stage", type=int, choices=(1, 2), default=2, help="that the checkpoint is of")
    parser.add_argument("--full-precision", action="store_true", help="store the weights in float32")
    parser.add_argument("--history", default="", help="how the run went, for the manifest")
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    stages = list(STAGES[: options.stage])
    trainer = Trainer.resume(stages[-1].objective, options.checkpoint, device="cpu")
    # As it ran, whatever STAGES says by now.
    stages[-1] = replace(stages[-1], settings=trainer.settings)
    network = trainer.result()
    # Numbers past the last training sample, so that the statistics come from unseen ones.
    first = trainer.settings.steps * trainer.settings.batch_size
    heads = load_soft_heads(options.heads, TRAINING_HEADS)
    unseen = ScanCheckSamples(heads, ScanCheckSettings(), stages[-1].data_seed, RECALIBRATION_SAMPLES, first)
    recalibrate_batch_norm(network, DataLoader(unseen, _BATCH, num_workers=1))

    kept_out = load_soft_heads(options.heads, CALIBRATION_HEADS)
    samples = ScanCheckSamples(kept_out, ScanCheckSettings(), CALIBRATION_SEED, CALIBRATION_SAMPLES)
    # Calibrate the weights as they are stored.
    plain = make_manifest(stages, (1.0,) * len(CLASSES))
    half = not options.full_precision
    stored = write_package(options.output, plain, network, half).load()
    temperatures, metrics = calibrate(stored, samples)
    manifest = make_manifest(stages, temperatures, metrics, options.history)
    write_package(options.output, manifest, network, half)
    print("temperatures", *temperatures)
    for metric in metrics:
        print(f"{metric.value:.4f}  {metric.name}  ({metric.data})")


if __name__ == "__main__":
    main()
