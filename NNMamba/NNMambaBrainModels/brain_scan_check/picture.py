"""Draw volumes with the answers of `brain-scan-check`, for its card.

    python -m NNMambaBrainModels.brain_scan_check.picture --sources DIR --output FILE.png CASE ...

A case is SOURCE-ORDER, as `brain_scan_check.evaluate` names them (robex-RAS), or noise-RAS or noise-ball-RAS.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from NNMambaBrainModels.brain_scan_check.evaluate import SUBJECTS, noise, read_source, truth
from NNMambaBrainModels.brain_scan_check.package import PACKAGE
from NNMambaBrainModels.command_line import command_parser
from NNMambaLib.engine import Engine
from NNMambaLib.export.slices import gray, plane, show, window
from NNMambaLib.files import atomic_file
from NNMambaLib.models.package import open_package
from NNMambaLib.results import Prediction
from NNMambaLib.volumes.volume import Volume

_ROW_INCHES = (6.6, 2.2)
_GRAY_LEVELS = 64
# Of an array without a geometry, i, j and k rise to left, posterior and superior: axes to the right and up, letters.
_PLANES = (("i", "j", "RLPA"), ("i", "k", "RLSI"), ("j", "k", "APSI"))


def stored_as(sources: Path, case: str) -> Volume:
    """Return the volume of a case with its axes in the case's order."""
    name, _, order = case.rpartition("-")
    volume = noise(ball=name != "noise") if name.startswith("noise") else read_source(sources, name)
    turned = volume.reoriented(order)
    return Volume(np.ascontiguousarray(turned.array), turned.matrix, case)


def caption(case: str, predictions: tuple[Prediction, ...]) -> str:
    """Return the model's answers for a case, wrong ones in brackets; without a subject there are no right answers."""
    name, _, order = case.rpartition("-")
    contrasts = {subject.source: subject.contrast for subject in SUBJECTS}
    wanted = truth(order, contrasts[name]) if name in contrasts else [None] * len(predictions)
    said = []
    for axis, prediction, right in zip(("i", "j", "k", "contrast"), predictions, wanted, strict=True):
        answer = f"{axis}: {prediction.predicted} {prediction.probabilities[prediction.predicted]:.2f}"
        said.append(answer if right in (None, prediction.predicted) else f"[{answer}]")
    return f"{case}   {', '.join(said)}"


def draw(rows: list[tuple[Volume, str]], output: Path) -> None:
    """Write a picture of three middle slices a row, each axis rising to the right or up."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    width, height = _ROW_INCHES
    figure = Figure(figsize=(width, height * len(rows)), layout="constrained", dpi=90)
    for subfigure, (volume, title) in zip(figure.subfigures(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        subfigure.suptitle(title, fontsize=8)
        # As the array lies, whatever the header says of it.
        stored = Volume(volume.array, np.diag([*volume.grid.spacing, 1.0]))
        limits = window(stored.array)
        for axes, (right, up, letters) in zip(subfigure.subplots(1, 3), _PLANES, strict=True):
            show(axes, gray(stored, plane(stored.grid, f"{right}{up}", letters), limits), "")
            axes.set_xlabel(f"{right} →", fontsize=7)
            axes.set_ylabel(f"{up} →", fontsize=7)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("L").quantize(_GRAY_LEVELS)
    with atomic_file(output) as temporary:
        picture.save(temporary, "PNG", optimize=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--package", type=Path, default=PACKAGE)
    parser.add_argument("cases", nargs="+", metavar="CASE")
    options = parser.parse_args(arguments)

    engine, package = Engine(device="cpu"), open_package(options.package)
    rows = []
    for case in options.cases:
        volume = stored_as(options.sources, case)
        rows.append((volume, caption(case, engine.classify(volume, package).predictions)))
    draw(rows, options.output)


if __name__ == "__main__":
    main()
