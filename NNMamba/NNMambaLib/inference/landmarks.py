"""The task landmarks: from a volume to heatmaps, and from these to positions in mm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from NNMambaLib.inference.task import Option, OutputFile, RunContext, Task
from NNMambaLib.models.manifest import HeatmapDecoding, LandmarkDefinition
from NNMambaLib.results import Landmark, LandmarksResult, Provenance
from NNMambaLib.volumes.volume import Grid, Shape, Volume

if TYPE_CHECKING:
    import torch

    from NNMambaLib.evaluation.report import Report
    from NNMambaLib.inference.memory_plan import MemoryNeed, RunSizes
    from NNMambaLib.inference.preprocessing import Prepared


class Landmarks(Task[LandmarksResult]):
    """One heatmap a landmark; its peak is the position, and the peak's height says how sure the network is."""

    name = "landmarks"
    command = "landmarks"
    summary = "find anatomical landmarks in a volume"
    options = (
        Option("step", float, 0.5, "distance of neighbouring tiles, in patches (default 0.5)"),
        Option("pad_small", bool, False, "run also where most of a patch would be padding"),
    )
    files = (OutputFile("output", (".mrk.json",), "Slicer markups, .mrk.json"),)
    whole_volume = False
    fewest_outputs = 1
    demo_file = "landmarks.mrk.json"

    def need(self, sizes: RunSizes, patch: Shape, device: torch.device, options: Mapping[str, Any]) -> MemoryNeed:
        from NNMambaLib.inference.memory_plan import sliding_window_need

        return sliding_window_need(sizes, patch, device, kept_bytes=4 * sizes.network.out_channels)

    def run(self, prepared: Prepared, context: RunContext) -> tuple[Landmark, ...]:
        import torch

        from NNMambaLib.inference.sliding_window import Tiling, sliding_window
        from NNMambaLib.inference.tile_predictor import tile_predictor

        definitions, decoding = context.manifest.landmarks, context.manifest.heatmap
        assert decoding is not None, "the schema requires it of packages for landmarks"
        window = context.manifest.input.window
        tiling = Tiling.plan(prepared.grid.shape, context.patch, context.options["step"], window)
        predict = tile_predictor(context.network, context.device, lambda y: y, ())
        heatmaps = np.empty((len(definitions), *prepared.grid.shape), np.float32)
        context.monitor.stage("Detecting landmarks", tiling.count)
        rows = None
        for rows in sliding_window(predict, prepared.array, tiling, len(definitions), context.monitor.step):
            torch.from_numpy(heatmaps[rows.place]).copy_(rows.values)
        del rows  # and with it the slab, before the heatmaps are decoded
        context.monitor.stage("Decoding landmarks", 1)
        # A landmark that lies outside the volume as it was given was not found.
        return tuple(
            within(context.volume.grid, decode(heatmap, prepared.grid, definition, decoding))
            for heatmap, definition in zip(heatmaps, definitions, strict=True)
        )

    def result(self, found: tuple[Landmark, ...], context: RunContext, provenance: Provenance) -> LandmarksResult:
        return LandmarksResult(found, provenance)

    def pack(self, result: LandmarksResult, write: Callable[[Volume, str], dict[str, Any]]) -> dict[str, Any]:
        return {"landmarks": [asdict(landmark) for landmark in result.landmarks]}

    def unpack(
        self, message: dict[str, Any], provenance: Provenance, read: Callable[[dict[str, Any] | None], Volume | None]
    ) -> LandmarksResult:
        return LandmarksResult(tuple(_landmark(entry) for entry in message["landmarks"]), provenance)

    def describe(self, result: LandmarksResult) -> tuple[bool, str]:
        found = sum(landmark.found for landmark in result.landmarks)
        return found > 0, f"{found} of {len(result.landmarks)} landmarks"

    def table(self, result: LandmarksResult) -> tuple[list[str], list[list[str]]]:
        rows = [
            [
                landmark.name,
                "not found" if landmark.position is None else "  ".join(f"{value:.1f}" for value in landmark.position),
                f"{landmark.confidence:.2f}",
            ]
            for landmark in result.landmarks
        ]
        return ["landmark", "position LPS mm", "confidence"], rows

    def report(self, result: LandmarksResult) -> dict[str, Any]:
        return {
            "landmarks": [
                {"name": m.name, "position_lps": m.position, "confidence": m.confidence, "found": m.found}
                for m in result.landmarks
            ]
        }

    def columns(self, report: Mapping[str, Any]) -> dict[str, Any]:
        columns = {}
        for landmark in report["landmarks"]:
            position = landmark["position_lps"] or (None, None, None)
            columns |= {f"{landmark['name']} {axis} (mm)": at for axis, at in zip("LPS", position, strict=True)}
            columns[f"{landmark['name']} confidence"] = landmark["confidence"]
        return columns

    def doubt(self, report: Mapping[str, Any]) -> float | None:
        # One wrong landmark of many must not vanish in a mean.
        return 1 - min(landmark["confidence"] for landmark in report["landmarks"])

    def thumbnail(self, result: LandmarksResult, volume: Volume) -> np.ndarray:
        from NNMambaLib.export.thumbnail import landmarks_thumbnail

        return landmarks_thumbnail(result, volume)

    def write(self, result: LandmarksResult, files: Mapping[str, str | Path], volume: Volume) -> tuple[str, ...]:
        from NNMambaLib.export.markups_file import write_markups

        write_markups(result, files["output"])
        return ()

    def evaluate(self, prediction: str, reference: str, tolerance: float, label_names: Mapping[int, str]) -> Report:
        from NNMambaLib.evaluation.report import report_landmarks

        return report_landmarks(prediction, reference)

    def random_sections(self, outputs: int) -> dict[str, Any]:
        definitions = (LandmarkDefinition(f"L{n + 1}", "random weights: no meaning") for n in range(outputs))
        return {"landmarks": tuple(definitions), "heatmap": HeatmapDecoding(slope=1.0, intercept=0.0)}


def decode(heatmap: np.ndarray, grid: Grid, definition: LandmarkDefinition, decoding: HeatmapDecoding) -> Landmark:
    """Return the landmark at the peak of a heatmap (z, y, x), located between voxels.

    The heatmap is taken for a Gaussian around its peak: along each axis the logarithms of the peak and its two
    neighbours lie on a parabola, whose vertex is the position.
    """
    peak = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    height = float(heatmap[peak])
    confidence = decoding.confidence(height)
    position = None
    if height > 0 and confidence >= decoding.threshold:
        index = np.array([[peak[axis] + _vertex(heatmap, peak, axis) for axis in (2, 1, 0)]])
        x, y, z = grid.to_physical(index)[0]
        position = float(x), float(y), float(z)
    return Landmark(definition.name, definition.definition, position, confidence)


def within(grid: Grid, landmark: Landmark) -> Landmark:
    """Return the landmark, without its position where that lies outside a grid's voxels."""
    if landmark.position is not None:
        index = grid.to_index(np.array([landmark.position]))[0]
        if np.any(index < -0.5) or np.any(index > np.array(grid.shape[::-1]) - 0.5):
            return replace(landmark, position=None)
    return landmark


def _vertex(heatmap: np.ndarray, peak: tuple[np.intp, ...], axis: int) -> float:
    """Return the parabola's vertex along an axis, in voxels from the peak, -0.5..0.5; 0 at the border."""
    if not 0 < peak[axis] < heatmap.shape[axis] - 1:
        return 0.0
    line = np.moveaxis(heatmap, axis, 0)[(slice(peak[axis] - 1, peak[axis] + 2), *np.delete(peak, axis))]
    before, center, after = np.log(np.maximum(line, 1e-3 * line[1]))
    curvature = before - 2 * center + after
    return 0.0 if curvature >= -1e-9 else float(np.clip((before - after) / (2 * curvature), -0.5, 0.5))


def _landmark(entry: dict[str, Any]) -> Landmark:
    position = entry["position"]
    return Landmark(**{**entry, "position": None if position is None else tuple(position)})
