"""Write what `nnmamba evaluate` compares for `brain-structures`, on subjects it was not trained on.

    python -m NNMambaBrainModels.brain_structures.evaluate --sources DIR --samseg DIR --output DIR

`--samseg` holds SAMSEG's label map of each subject (NAME.nii.gz, by `samseg_atlas`). Writes pairs of folders:

    structures/{prediction,reference}  all labels, reference: SAMSEG
    tissue/{prediction,reference}      brain tissue as one label, without fluid, reference: SAMSEG
    brain/{prediction,reference}       all labels of the brain and its fluid as one, reference: the shipped masks
    VARIANT/{prediction,reference}     as `structures`, the volumes resampled or rendered again, for each `--variant`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.fetch_data import source_path
from NNMambaBrainModels.heads.head_model import TEXTURES_PER_CLASS
from NNMambaBrainModels.heads.held_out import HELD_OUT, HeldOutHead, held_out_volume, samseg_structures
from NNMambaBrainModels.heads.structure_labels import LEFT_BIT, StructureLabel, label_table
from NNMambaBrainModels.synthesis.mr_sequences import Contrast, sequence_means
from NNMambaLib.engine import Engine
from NNMambaLib.models.catalogue import bundled_folder
from NNMambaLib.networks.description import PRECISIONS
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.resampling import regular_grid, resample
from NNMambaLib.volumes.volume import Grid, Volume

PACKAGE = bundled_folder() / "brain-structures"
FLUID = (StructureLabel.VENTRICLES, StructureLabel.CSF)
NOT_BRAIN = (StructureLabel.BACKGROUND, StructureLabel.OTHER_HEAD)
_OBLIQUE_DEGREES = 25.0
_NOISE_SD = 0.03

# Makes (volume, label map) from a subject's volume and coded structures.
Variant = Callable[[Volume, Volume], tuple[Volume, Volume]]


def labels_of(structures: Volume) -> Volume:
    """Return the model's labels of coded structures."""
    return Volume(label_table()[structures.array], structures.matrix, structures.name)


def on_grid(make_grid: Callable[[Grid], Grid]) -> Variant:
    """Resample volume and labels to another grid."""

    def variant(volume: Volume, structures: Volume) -> tuple[Volume, Volume]:
        grid = make_grid(volume.grid)
        labels = resample(labels_of(structures), grid, "nearest", outside=0)
        return resample(volume, grid, anti_aliasing=True), labels

    return variant


def rendered(contrast: Contrast) -> Variant:
    """Render the subject's structures with another contrast: the volume then shows exactly what the labels say."""

    def variant(volume: Volume, structures: Volume) -> tuple[Volume, Volume]:
        rng = np.random.default_rng(int(contrast))
        means = sequence_means(contrast, rng).reshape(-1, TEXTURES_PER_CLASS).mean(axis=1)
        classes = structures.array[0] & (LEFT_BIT - 1)
        values = gaussian_filter(means[classes], 0.5)
        noisy = np.hypot(values + _NOISE_SD * rng.standard_normal(values.shape), _NOISE_SD)
        return Volume(noisy[None].astype(np.float32), structures.matrix, volume.name), labels_of(structures)

    return variant


def _spacing(x: float, y: float, z: float) -> Callable[[Grid], Grid]:
    return lambda grid: regular_grid(grid, "RAS", (x, y, z))


def _oblique(grid: Grid) -> Grid:
    """Return the grid turned about two axes through its middle, stored posterior, inferior, left."""
    turned = regular_grid(grid, "PIL", grid.spacing)
    angle = np.deg2rad(_OBLIQUE_DEGREES)
    about_z, about_x = np.eye(4), np.eye(4)
    about_z[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    about_x[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    to_middle = np.eye(4)
    to_middle[:3, 3] = turned.to_physical((np.array(turned.shape[::-1])[None] - 1) / 2)[0]
    return Grid(turned.shape, to_middle @ about_z @ about_x @ np.linalg.inv(to_middle) @ turned.matrix)


VARIANTS: dict[str, Variant] = {
    "fine": on_grid(_spacing(0.8, 0.8, 0.8)),
    "coarse": on_grid(_spacing(3.0, 3.0, 3.0)),
    "thick": on_grid(_spacing(1.0, 1.0, 5.0)),
    "oblique": on_grid(_oblique),
    "rendered-t1": rendered(Contrast.T1),
    "rendered-t2": rendered(Contrast.T2),
    "rendered-pd": rendered(Contrast.PD),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--samseg", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--package", type=Path, default=PACKAGE)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of convolutions")
    parser.add_argument("--variant", action="append", choices=sorted(VARIANTS), default=[])
    options = parser.parse_args(arguments)

    engine = Engine(device="cpu", precision=options.precision)
    chosen = {name: VARIANTS[name] for name in options.variant}
    for head in HELD_OUT:
        _evaluate_head(head, engine, options, chosen)


def _evaluate_head(head: HeldOutHead, engine: Engine, options: argparse.Namespace, variants: dict[str, Variant]):
    volume = held_out_volume(head, options.sources)
    coded, codes = samseg_structures(options.samseg / f"{head.name}.nii.gz")
    structures = Volume(coded[None], codes.matrix, head.name)
    labels = engine.segment(volume, options.package).labels
    reference = labels_of(structures)
    _write_pair(options.output / "structures", head.name, labels, reference)
    _write_pair(options.output / "tissue", head.name, _without(labels, FLUID), _without(reference, FLUID))
    if head.mask is not None:
        mask = read_volume(source_path(options.sources, head.mask))
        shipped = Volume((mask.array > 0).astype(np.uint8), mask.matrix)
        _write_pair(options.output / "brain", head.name, _without(labels, ()), shipped)
    for name, variant in variants.items():
        changed, truth = variant(volume, structures)
        predicted = engine.segment(changed, options.package, pad_small=True).labels
        _write_pair(options.output / name, head.name, predicted, truth)
    print(f"{head.name}: done", flush=True)


def _without(labels: Volume, left_out: tuple[StructureLabel, ...]) -> Volume:
    """Return one label for all of the brain but `left_out`."""
    return Volume((~np.isin(labels.array, NOT_BRAIN + left_out)).astype(np.uint8), labels.matrix, labels.name)


def _write_pair(folder: Path, case: str, prediction: Volume, reference: Volume) -> None:
    for name, labels in (("prediction", prediction), ("reference", reference)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_volume(Volume(labels.array.astype(np.uint8), labels.matrix), folder / name / f"{case}.nii.gz")


if __name__ == "__main__":
    main()
