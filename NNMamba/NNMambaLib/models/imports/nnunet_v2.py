"""Result folders of nnU-Net version 2: ``plans.json``, ``dataset.json`` and ``fold_X/checkpoint_final.pth``.

The trainer's class is not needed: plans, dataset and weights say all. What is not said exactly as the engine does it is
refused by its name.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.checkpoint_files import open_checkpoint
from NNMambaLib.models.imports.names import in_order
from NNMambaLib.models.imports.plan_values import PlanValues, refused_step
from NNMambaLib.models.imports.result_folder import ResultFolder, checkpoints, labels_of, specification
from NNMambaLib.models.manifest import Normalization
from NNMambaLib.plain_files import MAX_JSON_BYTES, read_text
from NNMambaLib.strict_json import parse_json

PLANS_FILE = "plans.json"
_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_RESAMPLING = "resample_data_or_seg_to_shape"
_PLANES = {None: "anisotropic", False: "never", True: "always"}
_MOST_INHERITED = 10


def read_v2_folder(folder: Path, fold: str | None) -> ResultFolder:
    """Return what a result folder of version 2 says.

    Raises:
        ModelError: if something is missing, or a step is not the engine's.
    """
    plans, dataset = (_json(folder / name) for name in (PLANS_FILE, "dataset.json"))
    weights = checkpoints(folder, _CHECKPOINTS, fold)
    first = next(iter(weights.values()))
    saved = PlanValues.of(open_checkpoint(first).content, str(first))
    name = saved.within("init_args").text("configuration")
    configuration = _configuration(plans, name)
    source = f"{folder / PLANS_FILE}, configuration {name},"
    _refuse_other_steps(configuration, source)
    names, channels = _labels(dataset), _channels(plans, dataset, configuration, source)
    given = specification(
        source,
        channels,
        configuration.numbers("patch_size", 3),
        configuration.numbers("spacing", 3),
        plans.order("transpose_forward"),
        _mirror_axes(saved),
        _planes(configuration, source),
        version=2,
    )
    trainer = saved.text("trainer_name", "unknown")
    return ResultFolder(
        tuple(weights.values()),
        replace(given, averages="logits"),
        labels_of(names),
        (
            f"a result folder of nnU-Net 2: configuration {name}, trainer {trainer}, fold {', '.join(weights)}, "
            f"{first.name}",
            "spacing, patch, transposition, normalization, resampling and mirrored axes from plans and checkpoint",
            "names of channels and labels from dataset.json",
        ),
    )


def _json(path: Path) -> PlanValues:
    try:
        return PlanValues.of(parse_json(read_text(path, MAX_JSON_BYTES, ModelError)), str(path))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error}): give the file that nnU-Net wrote.") from error


def _configuration(plans: PlanValues, name: str) -> PlanValues:
    """Return a configuration with what it inherits."""
    configurations = plans.within("configurations")
    content: dict[Any, Any] = {}
    for _ in range(_MOST_INHERITED):
        values = configurations.within(name)
        content = {**values.content, **content}
        parent = values.get("inherits_from")
        if parent is None:
            return PlanValues(content, values.source)
        name = values.text("inherits_from")
    raise ModelError(f"{plans.source} has configurations that inherit from one another without end: it is damaged.")


def _refuse_other_steps(configuration: PlanValues, source: str) -> None:
    if configuration.get("previous_stage") is not None:
        raise refused_step(source, "a cascade, whose second network takes the first one's labels")
    preprocessor = configuration.text("preprocessor_name", "DefaultPreprocessor")
    if preprocessor != "DefaultPreprocessor":
        raise refused_step(source, f"the preprocessor {preprocessor}")
    for step, order in (("resampling_fn_data", 3), ("resampling_fn_probabilities", 1)):
        function = configuration.text(step, _RESAMPLING)
        if function != _RESAMPLING:
            raise refused_step(source, f"{step} {function}")
        options = configuration.within(f"{step}_kwargs").content
        usual = {"is_seg": False, "order": order, "order_z": 0, "separate_z_anisotropy_threshold": 3}
        for key, value in options.items():
            if key != "force_separate_z" and (key not in usual or value != usual[key]):
                raise refused_step(source, f"{step} with {key} {value!r}"[:200])
        if options.get("order") != order:
            raise refused_step(source, f"{step} of another order than {order}")


def _planes(configuration: PlanValues, source: str) -> str:
    """Return whether planes are resampled by themselves, which must be the same on both ways."""
    ways = [
        configuration.within(f"resampling_fn_{what}_kwargs").get("force_separate_z", False)
        for what in ("data", "probabilities")
    ]
    if ways[0] is not ways[1] or not (ways[0] is None or isinstance(ways[0], bool)):
        raise refused_step(source, "planes that are resampled by themselves on one way only")
    return _PLANES[ways[0]]


def _labels(dataset: PlanValues) -> list[str]:
    labels = dataset.within("labels")
    if dataset.get("regions_class_order") is not None or any(isinstance(v, list) for v in labels.content.values()):
        raise refused_step(dataset.source, "regions, whose outputs are probabilities of their own (sigmoid)")
    names = in_order({key: value for key, value in labels.content.items() if key != "ignore"})
    if not names:
        raise ModelError(f"{labels.source} does not number labels 1, 2, 3, ...: give the folder as nnU-Net wrote it.")
    return names


def _channels(
    plans: PlanValues, dataset: PlanValues, configuration: PlanValues, source: str
) -> list[tuple[str, Normalization]]:
    named = dataset.within("channel_names" if "channel_names" in dataset.content else "modality")
    schemes, masks = configuration.get("normalization_schemes"), configuration.get("use_mask_for_norm")
    count = len(named.content)
    if not isinstance(schemes, list) or not isinstance(masks, list) or not len(schemes) == len(masks) == count:
        raise ModelError(
            f"{source} does not normalize the {count} channels of dataset.json: the files do not belong together."
        )
    properties = plans.within("foreground_intensity_properties_per_channel")
    return [
        (named.text(str(n)), _normalization(scheme, masks[n] is True, properties, str(n), source))
        for n, scheme in enumerate(schemes)
    ]


def _normalization(scheme: Any, mask: bool, properties: PlanValues, channel: str, source: str) -> Normalization:
    if scheme == "ZScoreNormalization":
        return Normalization("z-score", "foreground" if mask else "all")
    if scheme == "NoNormalization":
        return Normalization("none")
    if scheme == "RescaleTo01Normalization":
        return Normalization("percentile", low=0.0, high=100.0)
    if scheme == "CTNormalization":
        values = properties.within(channel)
        low, high, mean, sd = (values.number(key) for key in ("percentile_00_5", "percentile_99_5", "mean", "std"))
        return Normalization("ct", low=low, high=high, mean=mean, sd=max(sd, 1e-8))
    raise refused_step(source, f"the normalization {scheme!r}"[:200])


def _mirror_axes(saved: PlanValues) -> tuple[int, ...]:
    axes = saved.get("inference_allowed_mirroring_axes") or ()
    if not isinstance(axes, (list, tuple)) or not set(axes) <= {0, 1, 2}:
        raise ModelError(f"{saved.source} mirrors along axes that a volume has not: it is damaged.")
    return tuple(axes)
