"""Mean intensity of every region under four kinds of MR sequence, from the signal equations.

Intensities follow from a sequence and the tissues' proton density, T1 and T2, so that a contrast's label is exact.
Where the jitter has blurred what defines the contrast, it is tried again.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from NNMambaBrainModels.heads.brain_labels import GeneratorClass
from NNMambaBrainModels.heads.head_model import TEXTURES_PER_CLASS


class Contrast(IntEnum):
    """What a volume's sequence shows."""

    T1 = 0
    T2 = 1
    PD = 2
    FLAIR = 3


@dataclass(frozen=True)
class Tissue:
    """Proton density relative to water, T1 and T2 in ms, about those at 1.5 T."""

    density: float
    t1: float
    t2: float


_AIR = Tissue(0.0, 300, 30)
_BONE = Tissue(0.10, 300, 20)
_MARROW = Tissue(0.60, 350, 90)
_MUSCLE = Tissue(0.80, 900, 42)
# The T2 of fat as echo trains show it.
_FAT = Tissue(0.95, 260, 110)
_WATER = Tissue(1.0, 4000, 1800)
_GRAY = Tissue(0.82, 1050, 95)
_WHITE = Tissue(0.70, 650, 75)
# Textures run from dark to bright on T1: a pair is a texture that holds half of each.
_TEXTURED = {
    GeneratorClass.AIR: ((_AIR, _AIR), (_MUSCLE, _AIR), (_MUSCLE, _FAT)),
    GeneratorClass.SKULL: ((_BONE, _BONE), (_BONE, _MARROW), (_MARROW, _MARROW)),
    GeneratorClass.SOFT_TISSUE: ((_MUSCLE, _BONE), (_MUSCLE, _FAT), (_FAT, _FAT)),
}
_UNIFORM = {
    GeneratorClass.EYE_FLUID: _WATER,
    GeneratorClass.CSF: _WATER,
    GeneratorClass.CEREBRAL_CORTEX: _GRAY,
    GeneratorClass.CEREBRAL_WHITE_MATTER: _WHITE,
    GeneratorClass.VENTRICLE: _WATER,
    GeneratorClass.CHOROID_PLEXUS: Tissue(0.85, 1500, 140),
    GeneratorClass.THALAMUS: Tissue(0.78, 850, 82),
    GeneratorClass.CAUDATE: Tissue(0.81, 980, 88),
    GeneratorClass.PUTAMEN: Tissue(0.80, 930, 82),
    GeneratorClass.PALLIDUM: Tissue(0.74, 780, 62),
    GeneratorClass.HIPPOCAMPUS: Tissue(0.83, 1080, 98),
    GeneratorClass.AMYGDALA: Tissue(0.83, 1080, 98),
    GeneratorClass.ACCUMBENS: Tissue(0.82, 1000, 92),
    GeneratorClass.VENTRAL_DIENCEPHALON: Tissue(0.75, 800, 75),
    GeneratorClass.CEREBELLAR_CORTEX: Tissue(0.83, 1050, 95),
    GeneratorClass.CEREBELLAR_WHITE_MATTER: Tissue(0.72, 690, 80),
    GeneratorClass.BRAINSTEM: Tissue(0.73, 730, 78),
    GeneratorClass.OPTIC_CHIASM: Tissue(0.72, 700, 78),
    GeneratorClass.VESSEL: Tissue(0.85, 1500, 150),
    GeneratorClass.WHITE_MATTER_HYPOINTENSITY: Tissue(0.80, 1000, 110),
}
_TISSUES = sorted({tissue for pair in _TEXTURED.values() for t in pair for tissue in t} | set(_UNIFORM.values()),
                  key=lambda tissue: (tissue.density, tissue.t1, tissue.t2))  # fmt: skip
_SATURABLE = [_TISSUES.index(_FAT), _TISSUES.index(_MARROW)]
_FAT_SATURATION_PROBABILITY = 0.25
_TISSUE_JITTER = 0.06
_CLASS_JITTER = 0.03


def sequence_means(contrast: Contrast, rng: np.random.Generator) -> np.ndarray:
    """Return the mean of each region (class x texture), scaled to at most 1; float32 (regions,)."""
    while True:
        signals = _tissue_signals(contrast, rng)
        means = np.array([_class_means(c, signals) for c in GeneratorClass])
        means *= 1 + rng.normal(0, _CLASS_JITTER, (len(GeneratorClass), 1))
        fluid, gray, white = (means[c, 0] for c in (
            GeneratorClass.CSF, GeneratorClass.CEREBRAL_CORTEX, GeneratorClass.CEREBRAL_WHITE_MATTER
        ))  # fmt: skip
        if shows(contrast, fluid, gray, white):
            return (means / means.max()).astype(np.float32).ravel()


def shows(contrast: Contrast, fluid: float, gray: float, white: float) -> bool:
    """Tell whether fluid, cortex and white matter have the order of intensities that defines the contrast."""
    if contrast is Contrast.T1:
        return fluid < 0.8 * gray < 0.8 * 0.97 * white
    if not white < gray:
        return False
    if contrast is Contrast.T2:
        return fluid > 1.2 * gray
    if contrast is Contrast.PD:
        return 0.55 * white < fluid < 1.1 * gray
    return fluid < 0.4 * white


def _tissue_signals(contrast: Contrast, rng: np.random.Generator) -> np.ndarray:
    """Return the signal of each of _TISSUES under a random sequence of this contrast."""
    values = np.array([(tissue.density, tissue.t1, tissue.t2) for tissue in _TISSUES])
    density, t1, t2 = (values * np.exp(rng.normal(0, _TISSUE_JITTER, values.shape))).T
    if contrast is Contrast.T1:
        if rng.random() < 0.5:
            signals = _spin_echo(density, t1, t2, rng.uniform(350, 750), rng.uniform(8, 20))
        else:
            signals = _inversion_recovery(density, t1, t2, rng.uniform(1800, 2500), rng.uniform(850, 1100), 3)
    elif contrast is Contrast.T2:
        signals = _spin_echo(density, t1, t2, rng.uniform(2500, 6000), rng.uniform(75, 130))
    elif contrast is Contrast.PD:
        signals = _spin_echo(density, t1, t2, rng.uniform(2000, 4000), rng.uniform(8, 30))
    else:
        repetition = rng.uniform(7000, 11000)
        water = t1[_TISSUES.index(_WATER)]
        null = water * (np.log(2) - np.log1p(np.exp(-repetition / water)))
        signals = _inversion_recovery(density, t1, t2, repetition, null * rng.uniform(0.95, 1.05), rng.uniform(80, 140))
    if rng.random() < _FAT_SATURATION_PROBABILITY:
        signals[_SATURABLE] *= rng.uniform(0.1, 0.4)
    return signals


def _spin_echo(density, t1, t2, repetition: float, echo: float) -> np.ndarray:
    return density * (1 - np.exp(-repetition / t1)) * np.exp(-echo / t2)


def _inversion_recovery(density, t1, t2, repetition: float, inversion: float, echo: float) -> np.ndarray:
    """Return the magnitude: what has not yet recovered shows as bright as what has."""
    recovered = 1 - 2 * np.exp(-inversion / t1) + np.exp(-repetition / t1)
    return np.abs(density * recovered) * np.exp(-echo / t2)


def _class_means(c: GeneratorClass, signals: np.ndarray) -> list[float]:
    pairs = _TEXTURED.get(c) or ((_UNIFORM[c], _UNIFORM[c]),) * TEXTURES_PER_CLASS
    return [float(np.mean([signals[_TISSUES.index(tissue)] for tissue in pair])) for pair in pairs]
