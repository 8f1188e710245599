"""The task classification: from a volume to calibrated probabilities, and what speaks for an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NNMambaLib.errors import ModelError, OutputError
from NNMambaLib.files import files_together, write_json
from NNMambaLib.inference.answers import answer
from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.inference.task import Option, OutputFile, RunContext, Task
from NNMambaLib.models.manifest import Manifest, Target
from NNMambaLib.results import ClassificationResult, Explanation, Prediction, Provenance
from NNMambaLib.volumes.volume import Shape, Volume

if TYPE_CHECKING:
    import torch

    from NNMambaLib.evaluation.report import Report
    from NNMambaLib.inference.memory_plan import MemoryNeed, RunSizes
    from NNMambaLib.inference.preprocessing import Prepared

Found = tuple[tuple[Prediction, ...], Explanation | None]


class Classification(Task[ClassificationResult]):
    """One run of the network on the volume, cropped or padded about its center to the model's patch."""

    name = "classification"
    command = "classify"
    summary = "classify a volume"
    options = (Option("explain", str, None, "find which regions speak for the answer to this question", "QUESTION"),)
    files = (
        OutputFile("output", (".json",), "probabilities and provenance, .json"),
        OutputFile(
            "explanation", (".nrrd", ".nii", ".nii.gz", ".mha"), "also write these regions, as a volume: .nii.gz, .nrrd"
        ),
        OutputFile("page", (".html",), "also write a page with answers, slices and explanation, .html"),
    )
    whole_volume = True
    fewest_outputs = 2
    demo_file = "classification.json"

    def check(self, manifest: Manifest, options: Mapping[str, Any]) -> None:
        questions = [target.name for target in manifest.targets]
        if options["explain"] is not None and options["explain"] not in questions:
            raise ModelError(
                f"The model {manifest.name} does not answer '{options['explain']}': choose one of its questions "
                f"({', '.join(questions)})."
            )

    def need(self, sizes: RunSizes, patch: Shape, device: torch.device, options: Mapping[str, Any]) -> MemoryNeed:
        from NNMambaLib.inference.memory_plan import classifier_need

        return classifier_need(sizes, patch, device, explanation=options["explain"] is not None)

    def run(self, prepared: Prepared, context: RunContext) -> Found:
        import torch

        targets, monitor = context.manifest.targets, context.monitor
        monitor.stage("Classifying", 1)
        x = torch.from_numpy(fit_to_patch(prepared.array, context.patch))[None].to(context.device)
        predictions = answer(context.network, x, targets)
        monitor.step()
        explain = context.options["explain"]
        if explain is None:
            return predictions, None
        return predictions, _explained(prepared, context, next(p for p in predictions if p.target == explain))

    def result(self, found: Found, context: RunContext, provenance: Provenance) -> ClassificationResult:
        predictions, explanation = found
        return ClassificationResult(predictions, provenance, explanation=explanation)

    def pack(self, result: ClassificationResult, write: Callable[[Volume, str], dict[str, Any]]) -> dict[str, Any]:
        explanation = result.explanation and {
            "target": result.explanation.target,
            "predicted": result.explanation.predicted,
            "volume": write(result.explanation.volume, "explanation"),
        }
        return {"predictions": [asdict(prediction) for prediction in result.predictions], "explanation": explanation}

    def unpack(
        self, message: dict[str, Any], provenance: Provenance, read: Callable[[dict[str, Any] | None], Volume | None]
    ) -> ClassificationResult:
        predictions = tuple(Prediction(**entry) for entry in message["predictions"])
        packed = message["explanation"]
        explanation = None
        if packed is not None:
            volume = read(packed["volume"])
            assert volume is not None
            explanation = Explanation(packed["target"], packed["predicted"], volume)
        return ClassificationResult(predictions, provenance, explanation=explanation)

    def describe(self, result: ClassificationResult) -> tuple[bool, str]:
        answers = [
            f"{prediction.target}: {prediction.predicted} ({prediction.probabilities[prediction.predicted]:.2f})"
            for prediction in result.predictions
        ]
        return bool(answers), "; ".join(answers)

    def table(self, result: ClassificationResult) -> tuple[list[str], list[list[str]]]:
        rows = [
            [prediction.target, name, f"{p:.3f}", "predicted" if name == prediction.predicted else ""]
            for prediction in result.predictions
            for name, p in prediction.probabilities.items()
        ]
        return ["target", "class", "probability", ""], rows

    def report(self, result: ClassificationResult) -> dict[str, Any]:
        return {"predictions": [asdict(prediction) for prediction in result.predictions]}

    def columns(self, report: Mapping[str, Any]) -> dict[str, Any]:
        columns = {}
        for prediction in report["predictions"]:
            columns[prediction["target"]] = prediction["predicted"]
            columns |= {f"{prediction['target']}: {name}": p for name, p in prediction["probabilities"].items()}
        return columns

    def doubt(self, report: Mapping[str, Any]) -> float | None:
        return max(1 - max(prediction["probabilities"].values()) for prediction in report["predictions"])

    def check_files(self, files: Mapping[str, str], options: Mapping[str, Any]) -> None:
        super().check_files(files, options)
        if files.get("explanation") and options["explain"] is None:
            raise OutputError(f"{files['explanation']} needs a question to explain: name one with --explain.")

    def write(self, result: ClassificationResult, files: Mapping[str, str | Path], volume: Volume) -> tuple[str, ...]:
        from NNMambaLib.export.classification_report import write_report
        from NNMambaLib.export.segmentation_file import provenance_metadata
        from NNMambaLib.volumes.files import write_volume
        from NNMambaLib.volumes.resampling import rectangular_grid, resample

        with files_together():
            write_json(result.as_dict(), files["output"])
            if "explanation" in files and result.explanation is not None:
                regions = result.explanation.volume
                if regions.grid.sheared:
                    # Files cannot hold the axes of a tilted gantry.
                    regions = resample(regions, rectangular_grid(regions.grid), outside=0.0)
                write_volume(regions, files["explanation"], provenance_metadata(result.provenance))
            if "page" in files:
                write_report(files["page"], result, volume)
        return ()

    def evaluate(self, prediction: str, reference: str, tolerance: float, label_names: Mapping[int, str]) -> Report:
        from NNMambaLib.evaluation.report import report_classification

        return report_classification(prediction, reference)

    def random_sections(self, outputs: int) -> dict[str, Any]:
        return {"targets": (Target("random", tuple(f"class {n + 1}" for n in range(outputs))),)}


def _explained(prepared: Prepared, context: RunContext, prediction: Prediction) -> Explanation:
    """Return what speaks for an answer, on the grid of the volume as it was given."""
    from NNMambaLib.inference.occlusion import explain
    from NNMambaLib.volumes.resampling import resample

    explanation = explain(
        prepared, context.network, context.device, context.patch, context.manifest.targets, prediction, context.monitor
    )
    context.monitor.stage("Back to the input's grid", 1)
    volume = context.volume
    on_input = resample(explanation.volume, volume.grid, outside=0.0)
    return replace(explanation, volume=Volume(on_input.array, volume.matrix, f"{volume.name} explanation"))
