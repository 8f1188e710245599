"""The task segmentation: from a volume to labels on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from NNMambaLib.errors import ModelError
from NNMambaLib.files import files_together
from NNMambaLib.inference.task import Option, OutputFile, RunContext, Task
from NNMambaLib.models.label_colors import label_color
from NNMambaLib.models.manifest import Label, Manifest
from NNMambaLib.models.manifest_file import label_from_dict
from NNMambaLib.results import Provenance, SegmentationResult
from NNMambaLib.volumes.volume import Grid, Shape, Volume

if TYPE_CHECKING:
    import torch

    from NNMambaLib.evaluation.report import Report
    from NNMambaLib.inference.back_to_grid import SegmentationArrays
    from NNMambaLib.inference.memory_plan import MemoryNeed, RunSizes
    from NNMambaLib.inference.preprocessing import Prepared

_RUNNING, _RETURNING = "Segmenting", "Back to the input's grid"
_VOLUME_ENDINGS = (".nrrd", ".nii", ".nii.gz", ".mha")


class Segmentation(Task[SegmentationResult]):
    """Softmax of each tile, blended; the label of a voxel is the first of the most probable ones."""

    name = "segmentation"
    command = "segment"
    summary = "segment a volume"
    options = (
        Option("mirror", bool, False, "average over mirrored copies: slower, slightly more exact (default: no)"),
        Option("step", float, 0.5, "distance of neighbouring tiles, in patches (default 0.5)"),
        Option("pad_small", bool, False, "run also where most of a patch would be padding"),
        Option("probabilities", bool, False, recorded=False),
        Option("uncertainty", bool, False, recorded=False),
    )
    files = (
        OutputFile("output", _VOLUME_ENDINGS, "labels: .nii.gz, .nrrd, .seg.nrrd"),
        OutputFile(
            "probabilities", _VOLUME_ENDINGS, "also write each label's probability, as channels", "probabilities"
        ),
        OutputFile(
            "uncertainty",
            _VOLUME_ENDINGS,
            "also write the uncertainty, the entropy of the probabilities: 0 (certain) to 1",
            "uncertainty",
            former_name="entropy",
        ),
    )
    whole_volume = False
    fewest_outputs = 2
    demo_file = "labels.seg.nrrd"

    def check(self, manifest: Manifest, options: Mapping[str, Any]) -> None:
        if options["mirror"] and not manifest.input.mirror_axes:
            raise ModelError(f"The model {manifest.name} does not allow mirroring: run it without.")

    def need(self, sizes: RunSizes, patch: Shape, device: torch.device, options: Mapping[str, Any]) -> MemoryNeed:
        from NNMambaLib.inference.back_to_grid import label_type
        from NNMambaLib.inference.memory_plan import sliding_window_need

        outputs = sizes.network.out_channels
        labels = np.dtype(label_type(outputs)).itemsize
        extras = (2 * outputs if options["probabilities"] else 0) + (4 if options["uncertainty"] else 0)
        return sliding_window_need(sizes, patch, device, label_bytes=labels, returned_bytes=labels + extras)

    def run(self, prepared: Prepared, context: RunContext) -> SegmentationArrays:
        from NNMambaLib.inference.back_to_grid import Reoriented, Resampled, Wanted
        from NNMambaLib.inference.sliding_window import Tiling, sliding_window
        from NNMambaLib.inference.tile_predictor import softmax, tile_predictor

        options, outputs = context.options, context.manifest.network.out_channels
        mirror_axes = context.manifest.input.mirror_axes if options["mirror"] else ()
        given = context.manifest.input
        logits = given.averages == "logits"
        predict = tile_predictor(context.network, context.device, _as_it_is if logits else softmax, mirror_axes)
        wanted = Wanted(outputs, options["probabilities"], options["uncertainty"], logits)
        collected = (
            Resampled(prepared.grid, context.volume.grid, wanted, prepared.reach, prepared.planes_across)
            if prepared.resampled
            else Reoriented(prepared.grid, context.volume.grid, wanted)
        )
        tiling = Tiling.plan(prepared.grid.shape, context.patch, options["step"], given.window)
        context.monitor.stage(_RUNNING, tiling.count)
        rows = None
        for rows in sliding_window(predict, prepared.array, tiling, outputs, context.monitor.step):
            with context.monitor.aside(_RETURNING):
                collected.add(rows)
        del rows  # it holds the slab
        context.monitor.stage(_RETURNING, 1)
        return collected.finish()

    def result(self, found: SegmentationArrays, context: RunContext, provenance: Provenance) -> SegmentationResult:
        wrap = partial(Volume, matrix=context.volume.matrix, name=context.volume.name)
        definitions = context.manifest.labels
        return SegmentationResult(
            labels=wrap(found.labels[None]),
            label_definitions=definitions,
            volumes_ml=_volumes_ml(found.labels, context.volume.grid, definitions),
            provenance=provenance,
            probabilities=None if found.probabilities is None else wrap(found.probabilities),
            uncertainty=None if found.uncertainty is None else wrap(found.uncertainty[None]),
        )

    def pack(self, result: SegmentationResult, write: Callable[[Volume, str], dict[str, Any]]) -> dict[str, Any]:
        return {
            "volumes_ml": result.volumes_ml,
            "label_definitions": [asdict(label) for label in result.label_definitions],
            "labels": write(result.labels, "labels"),
            "probabilities": result.probabilities and write(result.probabilities, "probabilities"),
            "uncertainty": result.uncertainty and write(result.uncertainty, "uncertainty"),
        }

    def unpack(
        self, message: dict[str, Any], provenance: Provenance, read: Callable[[dict[str, Any] | None], Volume | None]
    ) -> SegmentationResult:
        labels = read(message["labels"])
        assert labels is not None
        return SegmentationResult(
            labels=labels,
            label_definitions=tuple(_label(entry) for entry in message["label_definitions"]),
            volumes_ml=message["volumes_ml"],
            provenance=provenance,
            probabilities=read(message["probabilities"]),
            uncertainty=read(message["uncertainty"]),
        )

    def describe(self, result: SegmentationResult) -> tuple[bool, str]:
        volumes = [volume for volume in result.volumes_ml.values() if volume > 0]
        labels = len(result.label_definitions)
        return bool(volumes), f"{len(volumes)} of {labels} labels, {sum(volumes):.0f} mL in all"

    def table(self, result: SegmentationResult) -> tuple[list[str], list[list[str]]]:
        return ["label", "volume"], [[name, f"{ml:.1f} mL"] for name, ml in result.volumes_ml.items()]

    def report(self, result: SegmentationResult) -> dict[str, Any]:
        report: dict[str, Any] = {"volumes_ml": result.volumes_ml}
        if result.uncertainty is not None:
            labeled = result.labels.array > 0
            report["mean_uncertainty"] = float(result.uncertainty.array[labeled].mean()) if labeled.any() else None
        return report

    def columns(self, report: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{label} (mL)": volume for label, volume in report["volumes_ml"].items()}

    def doubt(self, report: Mapping[str, Any]) -> float | None:
        if not any(report["volumes_ml"].values()):
            return 1.0
        return report.get("mean_uncertainty")

    def thumbnail(self, result: SegmentationResult, volume: Volume) -> np.ndarray:
        from NNMambaLib.export.thumbnail import segmentation_thumbnail

        return segmentation_thumbnail(result, volume)

    def write(self, result: SegmentationResult, files: Mapping[str, str | Path], volume: Volume) -> tuple[str, ...]:
        from NNMambaLib.export.segmentation_file import provenance_metadata, without_shear, write_segmentation
        from NNMambaLib.volumes.files import write_volume

        writable = without_shear(result)
        provenance = provenance_metadata(writable.provenance)
        with files_together():
            write_segmentation(writable, files["output"])
            for name in ("probabilities", "uncertainty"):
                extra = getattr(writable, name)
                if extra is not None and name in files:
                    write_volume(extra, files[name], provenance)
        return writable.provenance.notices[len(result.provenance.notices) :]

    def evaluate(self, prediction: str, reference: str, tolerance: float, label_names: Mapping[int, str]) -> Report:
        from NNMambaLib.evaluation.report import report_segmentation

        return report_segmentation(prediction, reference, tolerance, label_names)

    def random_sections(self, outputs: int) -> dict[str, Any]:
        labels = (Label(value, f"label {value}", label_color(value, outputs)) for value in range(1, outputs))
        return {"labels": tuple(labels)}


def _as_it_is(y: torch.Tensor) -> torch.Tensor:
    return y


def _volumes_ml(labels: np.ndarray, grid: Grid, definitions: tuple[Label, ...]) -> dict[str, float]:
    counts = np.zeros(len(definitions) + 1, np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    return {label.name: float(counts[label.value] * grid.voxel_volume / 1000) for label in definitions}


def _label(entry: dict[str, Any]) -> Label:
    terminology = entry["terminology"]
    if terminology is not None:
        terminology = {key: code for key, code in terminology.items() if code is not None}
    return label_from_dict({**entry, "terminology": terminology})
