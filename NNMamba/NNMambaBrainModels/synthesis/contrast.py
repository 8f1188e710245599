"""Intensity of every structure: random, T1-like, or taken from an acquired volume."""

import numpy as np

from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.head_model import TEXTURES_PER_CLASS, HeadModel

# Mean brightness of a T1-weighted volume, 0 to 1; textured classes have one value for each texture, dark to bright.
T1_LIKE_MEANS: dict[GeneratorClass, float | tuple[float, ...]] = {
    GeneratorClass.AIR: (0.02, 0.25, 0.60),
    GeneratorClass.SKULL: (0.10, 0.22, 0.50),
    GeneratorClass.SOFT_TISSUE: (0.22, 0.45, 0.90),
    GeneratorClass.EYE_FLUID: 0.18,
    GeneratorClass.CSF: 0.17,
    GeneratorClass.CEREBRAL_CORTEX: 0.50,
    GeneratorClass.CEREBRAL_WHITE_MATTER: 0.78,
    GeneratorClass.VENTRICLE: 0.15,
    GeneratorClass.CHOROID_PLEXUS: 0.30,
    GeneratorClass.THALAMUS: 0.65,
    GeneratorClass.CAUDATE: 0.53,
    GeneratorClass.PUTAMEN: 0.58,
    GeneratorClass.PALLIDUM: 0.71,
    GeneratorClass.HIPPOCAMPUS: 0.51,
    GeneratorClass.AMYGDALA: 0.50,
    GeneratorClass.ACCUMBENS: 0.53,
    GeneratorClass.VENTRAL_DIENCEPHALON: 0.70,
    GeneratorClass.CEREBELLAR_CORTEX: 0.50,
    GeneratorClass.CEREBELLAR_WHITE_MATTER: 0.75,
    GeneratorClass.BRAINSTEM: 0.72,
    GeneratorClass.OPTIC_CHIASM: 0.60,
    GeneratorClass.VESSEL: 0.40,
    GeneratorClass.WHITE_MATTER_HYPOINTENSITY: 0.55,
}
_AIR_REGION = int(GeneratorClass.AIR) * TEXTURES_PER_CLASS
_REGION_COUNT = len(GeneratorClass) * TEXTURES_PER_CLASS


def t1_like_means(jitter: float, rng: np.random.Generator) -> np.ndarray:
    """Return the mean of each region (class x texture) about T1_LIKE_MEANS, with sd `jitter`; float32 (regions,)."""
    means = np.array([np.broadcast_to(T1_LIKE_MEANS[c], TEXTURES_PER_CLASS) for c in GeneratorClass], dtype=np.float32)
    per_class = rng.normal(0, jitter, (len(GeneratorClass), 1))
    return _with_dark_air((means + per_class + rng.normal(0, jitter / 4, means.shape)).ravel(), rng)


def random_means(rng: np.random.Generator) -> np.ndarray:
    """Return a mean for each region, uniform in 0.05..1, with air dark; float32 (regions,)."""
    means = rng.uniform(0.05, 1, (len(GeneratorClass), 1)) + rng.normal(
        0, 0.03, (len(GeneratorClass), TEXTURES_PER_CLASS)
    )
    for textured in (GeneratorClass.AIR, GeneratorClass.SKULL, GeneratorClass.SOFT_TISSUE):
        means[textured] = rng.uniform(0.05, 1, TEXTURES_PER_CLASS)
    return _with_dark_air(means.ravel(), rng)


def render(head: HeadModel, means: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Return a Gaussian mixture at 1 mm: each region's mean plus noise of sd about `spread`; float32 (z, y, x)."""
    spreads = (spread * rng.uniform(0.5, 1.5, _REGION_COUNT)).astype(np.float32)
    spreads[_AIR_REGION] = min(spread, 0.01)
    regions = head.classes * TEXTURES_PER_CLASS + head.textures
    noise = rng.standard_normal(head.classes.shape, dtype=np.float32)
    noise *= spreads[regions]
    noise += means[regions]
    return noise


def _with_dark_air(means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    means = np.clip(means, 0, 1.2).astype(np.float32)
    means[_AIR_REGION] = rng.uniform(0, 0.04)
    return means
