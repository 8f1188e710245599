"""Write what `nnmamba evaluate` compares for `brain-landmarks`, and print what it finds where no head is.

    python -m NNMambaBrainModels.brain_landmarks.evaluate --heads DIR --sources DIR --samseg DIR --output DIR

Writes pairs of folders of markups:

    deformed-t1/{prediction,reference}  the MNI152 2009c average, T1w, under deformations that were not trained on
    deformed-t2/{prediction,reference}  the same with its T2w, kept out of training
    centroids/{prediction,reference}    subjects kept out of training; reference: the centroids of SAMSEG's structures
    affine/{prediction,reference}       the same points from the average, registered to the subject (affine, SimpleITK)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from NNMambaBrainModels.brain_landmarks.package import PACKAGE
from NNMambaBrainModels.brain_landmarks.samples import PRESENT, landmark_target
from NNMambaBrainModels.brain_landmarks.train import SYNTHESIS, average_head
from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.fetch_data import source_path
from NNMambaBrainModels.heads.head_landmarks import LandmarkedHead, landmarked
from NNMambaBrainModels.heads.head_model import HeadModel
from NNMambaBrainModels.heads.held_out import HELD_OUT, held_out_volume, samseg_structures
from NNMambaBrainModels.heads.label_maps import read_ras
from NNMambaBrainModels.heads.landmark_set import FIDUCIALS, LANDMARKS
from NNMambaBrainModels.heads.structure_labels import LEFT_BIT
from NNMambaBrainModels.synthesis.synthesis import synthesize
from NNMambaLib.engine import Engine
from NNMambaLib.export.markups_file import write_markups
from NNMambaLib.networks.description import PRECISIONS
from NNMambaLib.results import Landmark, LandmarksResult
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.itk import to_image
from NNMambaLib.volumes.volume import LPS_TO_RAS, Grid, Position, Volume

DEFORMED_CASES = 20
DEFORMED_SEED = 4027
# Whole brains at a finer spacing than the model's, so that the position is not on its grid.
DEFORMED = replace(
    SYNTHESIS,
    shape=(120, 144, 120),
    spacing=1.6,
    acquired_probability=1.0,
    cut_probability=0.0,
    skull_strip_probability=0.0,
    deformation=replace(SYNTHESIS.deformation, translation=(6.0, 6.0, 6.0)),
)
WRONG = ("chest-ct", "macaque")
_NOISE_SHAPE = (96, 112, 96)


def deformed(head: LandmarkedHead, number: int) -> tuple[Volume, list[Position | None]]:
    """Return case `number`: a deformed, degraded volume of the head, and its landmarks in LPS mm (None: outside it)."""
    sample = synthesize(head.head, DEFORMED, np.random.default_rng((DEFORMED_SEED, number)))
    matrix = LPS_TO_RAS @ np.diag([DEFORMED.spacing] * 3 + [1.0])
    grid = Grid(DEFORMED.shape, matrix)
    target = landmark_target(sample, head.landmarks).numpy()
    positions = [_position(grid, row[:3]) if row[3] == PRESENT else None for row in target]
    return Volume(sample.intensity.numpy()[None], matrix, f"deformed {number}"), positions


def samseg_centroids(path: Path) -> list[Position | None]:
    """Return the landmarks of a label map by SAMSEG in LPS mm; None for the fiducials, which it does not show."""
    coded, codes = samseg_structures(path)
    head = HeadModel("subject", "subject", coded & (LEFT_BIT - 1), coded, left=(coded & LEFT_BIT) > 0)
    found = landmarked(head).landmarks
    return [None if np.isnan(row).any() else _position(codes.grid, row[::-1]) for row in found]


def affine_centroids(volume: Volume, heads: Path, sources: Path) -> list[Position | None]:
    """Return the average's centroids, carried to a subject's volume by an affine registration (mutual information)."""
    fixed = sitk.Cast(to_image(volume), sitk.sitkFloat32)
    template = read_ras(source_path(sources, "09c-T1w"))
    moving = sitk.Cast(template, sitk.sitkFloat32)
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(48)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.2)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=1.0, minStep=1e-4, numberOfIterations=300)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel((4, 2, 1))
    method.SetSmoothingSigmasPerLevel((3, 1.5, 0))
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    to_subject = start.GetInverse()
    indices = landmarked(HeadModel.load(heads / "09c.npz")).landmarks[len(FIDUCIALS) :, ::-1]
    points = [template.TransformContinuousIndexToPhysicalPoint(index) for index in indices.tolist()]
    carried: list[Position] = [to_subject.TransformPoint(point) for point in points]
    return [*[None] * len(FIDUCIALS), *carried]


def noise() -> Volume:
    """Return a volume of noise, as large as a head."""
    values = np.random.default_rng(0).standard_normal((1, *_NOISE_SHAPE)).astype(np.float32)
    return Volume(values, LPS_TO_RAS @ np.diag([2.0, 2.0, 2.0, 1.0]), "noise")


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--samseg", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--package", type=Path, default=PACKAGE)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of convolutions")
    options = parser.parse_args(arguments)

    engine = Engine(device="cpu", precision=options.precision)
    for contrast, folder in (("T1w", "deformed-t1"), ("T2w", "deformed-t2")):
        head = average_head(options.heads, options.sources, contrast)
        for number in range(DEFORMED_CASES):
            volume, truth = deformed(head, number)
            result = engine.detect_landmarks(volume, options.package)
            _write_pair(options.output / folder, f"{number:02d}", result, _points(result), truth)
    for subject in HELD_OUT:
        volume = held_out_volume(subject, options.sources)
        result = engine.detect_landmarks(volume, options.package)
        truth = samseg_centroids(options.samseg / f"{subject.name}.nii.gz")
        predicted: list[Position | None] = [*[None] * len(FIDUCIALS), *_points(result)[len(FIDUCIALS) :]]
        _write_pair(options.output / "centroids", subject.name, result, predicted, truth)
        carried = affine_centroids(volume, options.heads, options.sources)
        _write_pair(options.output / "affine", subject.name, result, carried, truth)
        print(f"{subject.name}: {_count(result)}", flush=True)
    wrong = {name: read_volume(source_path(options.sources, name)) for name in WRONG} | {"noise": noise()}
    for name, volume in wrong.items():
        # The macaque's brain is far smaller than a tile.
        found = engine.detect_landmarks(volume, options.package, pad_small=True)
        print(f"{name}: {_count(found)}", flush=True)


def _position(grid: Grid, index: np.ndarray) -> Position:
    """Return where a voxel index (x, y, z) lies."""
    x, y, z = grid.to_physical(index[None])[0].tolist()
    return x, y, z


def _points(result: LandmarksResult) -> list[Position | None]:
    return [landmark.position for landmark in result.landmarks]


def _count(result: LandmarksResult) -> str:
    found = sum(landmark.found for landmark in result.landmarks)
    highest = max(landmark.confidence for landmark in result.landmarks)
    return f"{found} of {len(LANDMARKS)} found, highest confidence {highest:.3f}"


def _write_pair(
    folder: Path,
    case: str,
    result: LandmarksResult,
    predicted: list[Position | None],
    truth: list[Position | None],
) -> None:
    for name, points in (("prediction", predicted), ("reference", truth)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        chosen = tuple(
            Landmark(d.name, d.definition, p, 1.0)
            for d, p in zip(LANDMARKS, points, strict=True)
            if not (folder.name in ("centroids", "affine") and d in FIDUCIALS)
        )
        write_markups(replace(result, landmarks=chosen), folder / name / f"{case}.mrk.json")


if __name__ == "__main__":
    main()
