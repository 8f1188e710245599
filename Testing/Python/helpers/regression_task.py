"""A fourth task, all of it: a number for a volume. It shows what adding a task takes."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.inference.task import OutputFile, Task
from NNMambaLib.results import Provenance


@dataclass(frozen=True)
class RegressionResult:
    """A number by each output's name."""

    numbers: dict[str, float]
    provenance: Provenance


class Regression(Task[RegressionResult]):
    """A classifier's network whose outputs are numbers, scaled by the manifest's section `outputs`."""

    name = "regression"
    command = "regress"
    summary = "estimate a number for a volume"
    options = ()
    files = (OutputFile("output", (".json",), "the numbers, .json"),)
    whole_volume = True
    fewest_outputs = 1
    demo_file = "regression.json"

    def need(self, sizes, patch, device, options):
        from NNMambaLib.inference.memory_plan import classifier_need

        return classifier_need(sizes, patch, device)

    def run(self, prepared, context):
        import torch

        context.monitor.stage("Estimating", 1)
        x = torch.from_numpy(fit_to_patch(prepared.array, context.patch))[None].to(context.device)
        with torch.inference_mode():
            outputs = context.network(x)[0].cpu().numpy()
        context.monitor.step()
        return outputs

    def result(self, found, context, provenance):
        scales = context.manifest.outputs
        numbers = {
            scale["name"]: scale["mean"] + scale["sd"] * float(y) for scale, y in zip(scales, found, strict=True)
        }
        return RegressionResult(numbers, provenance)

    def pack(self, result, write):
        return {"numbers": result.numbers}

    def unpack(self, message, provenance, read):
        return RegressionResult(message["numbers"], provenance)

    def describe(self, result):
        return bool(np.isfinite(list(result.numbers.values())).all()), str(result.numbers)

    def table(self, result):
        return ["name", "number"], [[name, f"{number:.1f}"] for name, number in result.numbers.items()]

    def report(self, result):
        return {"numbers": result.numbers}

    def columns(self, report):
        return report["numbers"]

    def write(self, result, files, volume):
        Path(files["output"]).write_text(json.dumps(result.numbers), encoding="utf-8")
        return ()

    def evaluate(self, prediction, reference, tolerance, label_names):
        from NNMambaLib.evaluation.report import Report

        with Path(reference, "numbers.csv").open(newline="", encoding="utf-8") as file:
            truth = {row["case"]: float(row["age"]) for row in csv.DictReader(file)}
        found = {path.stem: json.loads(path.read_text(encoding="utf-8"))["age"] for path in Path(prediction).iterdir()}
        error = float(np.mean([abs(found[case] - truth[case]) for case in truth]))
        return Report({"task": self.name, "mean_absolute_error": error}, ["name", "error"], [["age", f"{error:.2f}"]])

    def random_sections(self, outputs):
        names = ("age", *(f"number {n}" for n in range(2, outputs + 1)))
        return {"outputs": tuple({"name": name, "unit": "years", "mean": 50.0, "sd": 10.0} for name in names[:outputs])}
