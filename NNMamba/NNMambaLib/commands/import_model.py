"""``nnmamba models import``: a model package from weights that nnMamba's authors or others have trained."""

from __future__ import annotations

import argparse

from NNMambaLib.commands.console import print_notices, print_table
from NNMambaLib.errors import ModelError
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models import limits
from NNMambaLib.models.imports.presets import PRESETS
from NNMambaLib.models.manifest import Normalization
from NNMambaLib.networks.description import SIZE_DIVISOR

_NORMALIZATIONS = {
    "none": Normalization("none"),
    "z-score": Normalization("z-score"),
    "z-score-nonzero": Normalization("z-score", "nonzero"),
}


def add_parser(actions) -> None:
    parser = actions.add_parser("import", help="make a package of weights that others have trained, and install it")
    parser.add_argument(
        "input",
        nargs=1,
        metavar="PATH",
        help="a state_dict (.pth, .pt, .model, .safetensors), or nnU-Net's result folder",
    )
    parser.add_argument("--name", help="of the model (default: the file's)")
    parser.add_argument("--task", choices=list(TASKS), help="where the weights do not tell it")
    parser.add_argument("--preset", choices=list(PRESETS), help="a published experiment, whose settings are taken")
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="names of the labels, landmarks or classes in their order, without the background: one a line, or JSON",
    )
    parser.add_argument("--channels", nargs="+", metavar="NAME", help="names of the input's channels in their order")
    parser.add_argument("--patch", type=int, nargs=3, metavar=("X", "Y", "Z"), help="voxels of a tile (128 128 128)")
    parser.add_argument("--spacing", type=float, nargs=3, metavar=("X", "Y", "Z"), help="mm that the network works at")
    parser.add_argument("--normalization", choices=list(_NORMALIZATIONS), help="how intensities are scaled")
    parser.add_argument(
        "--ct",
        type=float,
        nargs=4,
        metavar=("LOW", "HIGH", "MEAN", "SD"),
        help="clip, then (v - MEAN) / SD",
    )
    parser.add_argument("--mirrored", action="store_true", help="it was trained with mirrored volumes")
    parser.add_argument("--fold", choices=[*"0123456789", "all"], help="of a result folder, that one alone (all folds)")
    parser.add_argument(
        "--without", nargs="+", choices=["postprocessing"], default=[], help="steps of a result folder to leave out"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an installed model of the same name, and the report"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict:
    from NNMambaLib.models.imports.importer import import_model
    from NNMambaLib.models.imports.names import read_names
    from NNMambaLib.models.imports.questions import Answers

    _check(arguments)
    answers = Answers(
        task=arguments.task,
        preset=arguments.preset,
        names=None if arguments.labels is None else read_names(arguments.labels),
        channels=None if arguments.channels is None else tuple(arguments.channels),
        patch=None if arguments.patch is None else tuple(arguments.patch),
        spacing=None if arguments.spacing is None else tuple(arguments.spacing),
        normalization=_normalization(arguments),
        mirrored=arguments.mirrored or None,
    )
    imported = import_model(
        arguments.input[0], arguments.name, answers, arguments.overwrite, arguments.fold, arguments.without
    )
    package = imported.package
    print_table(["", ""], [*(["found", line] for line in imported.found), *(["assumed", n] for n in imported.assumed)])
    print_notices(["what was assumed is not in the file: compare results with those of its authors before use"])
    print(f"Installed {package.manifest.name} {package.manifest.version} in {package.path}.")
    return {
        "name": package.manifest.name,
        "sha256": package.sha256,
        "path": str(package.path),
        "variant": package.manifest.network.variant,
        "found": list(imported.found),
        "assumed": list(imported.assumed),
    }


def _check(arguments: argparse.Namespace) -> None:
    sizes, lengths, ct = arguments.patch or (), arguments.spacing or (), arguments.ct
    if arguments.ct and arguments.normalization:
        raise ModelError("--ct and --normalization are given, and each says how intensities are scaled: give one.")
    for option, right, needed in (
        (
            "--patch",
            all(SIZE_DIVISOR <= size <= limits.MAX_SIZE for size in sizes),
            f"three sizes of {SIZE_DIVISOR} to {limits.MAX_SIZE} voxels",
        ),
        (
            "--spacing",
            all(limits.MIN_SPACING <= length <= limits.MAX_SPACING for length in lengths),
            f"three lengths of {limits.MIN_SPACING:g} to {limits.MAX_SPACING:g} mm",
        ),
        (
            "--ct",
            not ct or (max(map(abs, ct)) <= limits.MAX_INTENSITY and ct[0] < ct[1] and ct[3] >= limits.MIN_DEVIATION),
            "four numbers, LOW below HIGH and SD above 0",
        ),
    ):
        if not right:
            raise ModelError(f"{option} must be {needed}.")


def _normalization(arguments: argparse.Namespace) -> Normalization | None:
    if arguments.ct:
        low, high, mean, sd = arguments.ct
        return Normalization("ct", low=low, high=high, mean=mean, sd=sd)
    return _NORMALIZATIONS.get(arguments.normalization)
