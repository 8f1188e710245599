"""Result folders of nnU-Net version 1: ``plans.pkl``, ``postprocessing.json`` and ``fold_X/model_best.model``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.checkpoint_files import open_checkpoint
from NNMambaLib.models.imports.plan_values import PlanValues, refused_step
from NNMambaLib.models.imports.result_folder import ResultFolder, checkpoints, labels_of, specification
from NNMambaLib.models.limits import MAX_CHANNELS, MAX_OUTPUTS
from NNMambaLib.models.manifest import Normalization
from NNMambaLib.plain_files import MAX_JSON_BYTES, read_text
from NNMambaLib.strict_json import parse_json

PLANS_FILE = "plans.pkl"
_CHECKPOINTS = ("model_final_checkpoint.model", "model_best.model")
_LOW_RESOLUTION = "3d_lowres"


def read_v1_folder(
    folder: Path, fold: str | None, names: tuple[str, ...] | None, without: Collection[str]
) -> ResultFolder:
    """Return what a result folder of version 1 says.

    Args:
        names: of the labels, which the folder does not hold.
        without: steps that are to be left out although the folder has them: ``postprocessing``.

    Raises:
        ModelError: if something is missing, or a step is not the engine's.
    """
    source = str(folder / PLANS_FILE)
    plans = PlanValues.of(open_checkpoint(folder / PLANS_FILE).content, source)
    weights = checkpoints(folder, _CHECKPOINTS, fold)
    first = next(iter(weights.values()))
    trainer = _trainer(folder, first)
    stage, number = _stage(plans, folder)
    _refuse_other_steps(plans, trainer, source)
    given = specification(
        source,
        _channels(plans, source),
        stage.numbers("patch_size", 3),
        stage.numbers("current_spacing", 3),
        plans.order("transpose_forward"),
        (0, 1, 2),
        "anisotropic",
        version=1,
    )
    count = int(plans.number("num_classes"))
    if not 1 <= count < MAX_OUTPUTS or (names is not None and len(names) != count):
        raise ModelError(f"{source} has {count} labels beside the background: name as many with --labels.")
    assumed = [] if names else ["names of labels are not in the folder: they are numbered (--labels FILE names them)"]
    if _postprocessed(folder):
        if "postprocessing" not in without:
            raise refused_step(
                str(folder / "postprocessing.json"), "the largest component of labels alone (--without postprocessing)"
            )
        assumed.append("postprocessing.json is left out, as was asked for: small components of labels stay")
    averages = "probabilities" if "V2" in trainer else "logits"
    if trainer != "nnUNetTrainer" and "V2" not in trainer:
        assumed.append(f"the trainer {trainer} averages outputs as they are, as nnUNetTrainer does")
    return ResultFolder(
        tuple(weights.values()),
        replace(given, averages=averages),
        labels_of(list(names or (f"label {value}" for value in range(1, count + 1)))),
        (
            f"a result folder of nnU-Net 1: trainer {trainer}, stage {number}, fold {', '.join(weights)}, {first.name}",
            "spacing, patch, transposition and normalization from plans.pkl; what the trainer averages are "
            f"{averages if averages == 'probabilities' else 'outputs as they are'}",
        ),
        tuple(assumed),
    )


def _trainer(folder: Path, checkpoint: Path) -> str:
    """Return the trainer's name: that beside the checkpoint, or that in the folder's name."""
    beside = checkpoint.with_name(checkpoint.name + ".pkl")
    if beside.is_file():
        return PlanValues.of(open_checkpoint(beside).content, str(beside)).text("name")
    trainer, found, _ = folder.name.partition("__")
    if not found:
        raise ModelError(f"{checkpoint} has no {beside.name} beside it, which names the trainer: copy it there, too.")
    return trainer


def _stage(plans: PlanValues, folder: Path) -> tuple[PlanValues, int]:
    """Return the stage's plans: the low resolution's where the folder is in 3d_lowres, else the last."""
    stages = plans.within("plans_per_stage")
    numbers = sorted(key for key in stages.content if isinstance(key, int))
    if not numbers:
        raise ModelError(f"{stages.source} has no stages: give nnU-Net's plans.pkl.")
    parts = folder.resolve().parts
    if any(part.startswith("3d_cascade") for part in parts):
        raise refused_step(str(folder), "a cascade, whose second network takes the first one's labels")
    number = numbers[0] if _LOW_RESOLUTION in parts else numbers[-1]
    return stages.within(number), number


def _refuse_other_steps(plans: PlanValues, trainer: str, source: str) -> None:
    if "Region" in trainer:
        raise refused_step(source, f"regions (trainer {trainer}), whose outputs are probabilities of their own")
    preprocessor = plans.text("preprocessor_name", "GenericPreprocessor")
    if preprocessor != "GenericPreprocessor":
        raise refused_step(source, f"the preprocessor {preprocessor}")
    export = plans.get("segmentation_export_params")
    if export is None:
        return
    usual = {"force_separate_z": None, "interpolation_order": 1, "interpolation_order_z": 0}
    values = PlanValues.of(export, f"{source}, 'segmentation_export_params',")
    for key, value in values.content.items():
        if key not in usual or value != usual[key]:
            raise refused_step(values.source, f"{key} {value!r}"[:200])


def _channels(plans: PlanValues, source: str) -> list[tuple[str, Normalization]]:
    count = int(plans.number("num_modalities"))
    if not 1 <= count <= MAX_CHANNELS:
        raise ModelError(f"{source} has {count} channels, and a model has 1 to {MAX_CHANNELS}: it is not nnU-Net's.")
    schemes, masks = plans.within("normalization_schemes"), plans.within("use_mask_for_norm")
    named = plans.get("modalities")
    named = PlanValues.of(named, source) if isinstance(named, dict) else PlanValues({}, source)
    channels = []
    for channel in range(count):
        scheme, mask = schemes.text(channel), masks.get(channel) is True
        if scheme == "CT2":
            raise refused_step(source, f"the normalization {scheme}")
        name = named.text(channel, f"channel {channel + 1}")
        if scheme == "CT":
            properties = plans.within("dataset_properties").within("intensityproperties").within(channel)
            low, high, mean, sd = (properties.number(k) for k in ("percentile_00_5", "percentile_99_5", "mean", "sd"))
            how = Normalization("ct", "foreground" if mask else "all", low, high, mean, sd)
        elif scheme == "noNorm":
            how = Normalization("none")
        else:
            how = Normalization("z-score", "foreground" if mask else "all")
        channels.append((name, how))
    return channels


def _postprocessed(folder: Path) -> bool:
    path = folder / "postprocessing.json"
    if not path.is_file():
        return False
    try:
        content = PlanValues.of(parse_json(read_text(path, MAX_JSON_BYTES, ModelError)), str(path))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error}): give the file that nnU-Net wrote.") from error
    return bool(content.get("for_which_classes"))
