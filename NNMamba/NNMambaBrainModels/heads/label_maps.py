"""Build head models from SAMSEG's output and the volumes it was run on.

    python -m NNMambaBrainModels.heads.label_maps --sources DIR --samseg DIR --output DIR

`--sources` is what `fetch_data` unpacked, `--samseg` what `samseg_atlas` wrote.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from NNMambaBrainModels.command_line import command_parser
from NNMambaBrainModels.heads.brain_labels import SAMSEG_LEFT, SAMSEG_TO_GENERATOR, GeneratorClass
from NNMambaBrainModels.heads.fetch_data import source_path
from NNMambaBrainModels.heads.head_model import TEXTURES_PER_CLASS, HeadModel

TEXTURED_CLASSES = (GeneratorClass.AIR, GeneratorClass.SKULL, GeneratorClass.SOFT_TISSUE)
ATLAS_SAMPLES = 6
ATLAS_SMOOTHNESS_MM = (1.5, 3.0)
ATLAS_TEMPERATURE = (0.4, 1.2)
_PERCENTILE_OF_ONE = 99.8
_SMALLEST_PROBABILITY = 1e-4


@dataclass(frozen=True)
class SegmentedHead:
    """A head that SAMSEG segmented: its name, its subject, and the source of each contrast's volume."""

    name: str
    subject: str
    contrasts: dict[str, str]


SEGMENTED_HEADS = (
    SegmentedHead("ch2", "Colin27", {"T1w": "ch2"}),
    SegmentedHead("09c", "MNI152 2009c average", {"T1w": "09c-T1w", "T2w": "09c-T2w"}),
)
ATLAS_SUBJECT = "SAMSEG 20-subject atlas"


def read_ras(path: Path) -> sitk.Image:
    """Read a volume and reorder its axes so that x, y and z increase towards Right, Anterior and Superior."""
    return sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")


def to_generator_classes(codes: np.ndarray) -> np.ndarray:
    """Return the GeneratorClass of FreeSurfer codes, uint8, any shape.

    Raises:
        ValueError: for a code that SAMSEG does not use.
    """
    unknown = set(np.unique(codes).tolist()) - set(SAMSEG_TO_GENERATOR)
    if unknown:
        raise ValueError(f"Codes {sorted(unknown)} are not among SAMSEG's labels.")
    table = np.zeros(max(SAMSEG_TO_GENERATOR) + 1, dtype=np.uint8)
    for code, generator_class in SAMSEG_TO_GENERATOR.items():
        table[code] = generator_class
    return table[codes]


def divide_by_brightness(classes: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """Split each textured class into dark, middle and bright voxels by Otsu thresholds; uint8, shape of `classes`."""
    textures = np.zeros(classes.shape, dtype=np.uint8)
    smooth = gaussian_filter(intensity.astype(np.float32), 0.7)
    for generator_class in TEXTURED_CLASSES:
        inside = classes == generator_class
        if inside.sum() < TEXTURES_PER_CLASS:
            continue
        values = sitk.GetImageFromArray(smooth[inside].reshape(1, -1))
        divided = sitk.OtsuMultipleThresholds(values, numberOfThresholds=TEXTURES_PER_CLASS - 1)
        textures[inside] = sitk.GetArrayFromImage(divided).ravel()
    return textures


def scale_to_unit(array: np.ndarray) -> np.ndarray:
    """Divide by a high percentile and clip to 0..1; float16."""
    return np.clip(array / np.percentile(array, _PERCENTILE_OF_ONE), 0, 1).astype(np.float16)


def segmented_head(head: SegmentedHead, sources: Path, samseg: Path) -> HeadModel:
    """Return the head model of a volume that SAMSEG segmented; every volume involved has 1 mm voxels."""
    codes = sitk.GetArrayFromImage(read_ras(samseg / f"{head.name}.nii.gz"))
    classes = to_generator_classes(codes.astype(np.int64))
    intensities = {
        contrast: scale_to_unit(sitk.GetArrayFromImage(read_ras(source_path(sources, source))).astype(np.float32))
        for contrast, source in head.contrasts.items()
    }
    textures = divide_by_brightness(classes, intensities["T1w"])
    return HeadModel(head.name, head.subject, classes, textures, intensities, np.isin(codes, SAMSEG_LEFT))


def read_atlas(samseg: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return atlas priors with axes (class, z, y, x), RAS, float32, and the class of each entry of the first axis.

    The third array is the probability of any paired structure of the left, minus that of the right: (z, y, x).
    """
    with np.load(samseg / "atlas_priors.npz") as content:
        priors, codes, index_to_ras = content["priors"], content["codes"], content["index_to_ras"]
    for axis in range(3):
        if index_to_ras[axis, axis] < 0:
            priors = np.flip(priors, axis)
    structure_classes = to_generator_classes(codes.astype(np.int64))
    class_codes = np.unique(structure_classes)
    merged = np.stack([_probability(priors, structure_classes == code) for code in class_codes])
    left = np.isin(codes, SAMSEG_LEFT)
    right = ~left & np.isin(structure_classes, structure_classes[left])
    return merged, class_codes, _probability(priors, left) - _probability(priors, right)


def _probability(priors: np.ndarray, structures: np.ndarray) -> np.ndarray:
    """Return the probability of any of the chosen structures, float32 (z, y, x), from uint16 priors (x, y, z, K)."""
    return priors[..., structures].sum(axis=-1, dtype=np.float32).transpose(2, 1, 0) / 65535


def sample_label_map(
    priors: np.ndarray, class_codes: np.ndarray, smoothness: float, temperature: float, rng: np.random.Generator
) -> np.ndarray:
    """Return one plausible head from the atlas: the most probable class after smooth noise on the log priors.

    Smooth noise (sd `temperature` in log units, Gaussian correlation `smoothness` voxels) folds the cortex
    differently each time; independent noise would only make speckle. The result is uint8 (z, y, x).
    """
    best = np.full(priors.shape[1:], -np.inf, dtype=np.float32)
    labels = np.zeros(priors.shape[1:], dtype=np.uint8)
    for prior, code in zip(priors, class_codes, strict=True):
        score = np.log(prior + _SMALLEST_PROBABILITY)
        if temperature > 0:
            noise = gaussian_filter(rng.standard_normal(prior.shape, dtype=np.float32), smoothness)
            score += noise * (temperature / noise.std())
        better = score > best
        best[better] = score[better]
        labels[better] = code
    # The mesh does not cover the outermost voxels, where every prior is zero.
    labels[priors.sum(axis=0) < 0.5] = GeneratorClass.AIR
    return labels


def atlas_heads(sources: Path, samseg: Path, seed: int) -> list[HeadModel]:
    """Return the atlas's most probable head and ATLAS_SAMPLES random ones."""
    priors, class_codes, leftness = read_atlas(samseg)
    template = sitk.GetArrayFromImage(read_ras(source_path(sources, "samseg-template")))
    heads = []
    for number in range(ATLAS_SAMPLES + 1):
        rng = np.random.default_rng((seed, number))
        temperature = rng.uniform(*ATLAS_TEMPERATURE) if number else 0.0
        classes = sample_label_map(priors, class_codes, rng.uniform(*ATLAS_SMOOTHNESS_MM), temperature, rng)
        textures = divide_by_brightness(classes, template)
        heads.append(HeadModel(f"atlas-{number}", ATLAS_SUBJECT, classes, textures, left=leftness > 0))
    return heads


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--samseg", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    options.output.mkdir(parents=True, exist_ok=True)
    for head in SEGMENTED_HEADS:
        segmented_head(head, options.sources, options.samseg).save(options.output / f"{head.name}.npz")
    for model in atlas_heads(options.sources, options.samseg, options.seed):
        model.save(options.output / f"{model.name}.npz")


if __name__ == "__main__":
    main()
