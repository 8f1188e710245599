"""SAMSEG's structures, and the classes that the generator renders.

SAMSEG's 44 structures (FreeSurfer codes) describe the label maps we start from. The generator classes merge left with
right and hold what may differ in intensity.
"""

from enum import IntEnum


class GeneratorClass(IntEnum):
    """Structures that the generator renders with one intensity distribution each."""

    AIR = 0
    SKULL = 1
    SOFT_TISSUE = 2
    EYE_FLUID = 3
    CSF = 4
    CEREBRAL_CORTEX = 5
    CEREBRAL_WHITE_MATTER = 6
    VENTRICLE = 7
    CHOROID_PLEXUS = 8
    THALAMUS = 9
    CAUDATE = 10
    PUTAMEN = 11
    PALLIDUM = 12
    HIPPOCAMPUS = 13
    AMYGDALA = 14
    ACCUMBENS = 15
    VENTRAL_DIENCEPHALON = 16
    CEREBELLAR_CORTEX = 17
    CEREBELLAR_WHITE_MATTER = 18
    BRAINSTEM = 19
    OPTIC_CHIASM = 20
    VESSEL = 21
    WHITE_MATTER_HYPOINTENSITY = 22


# FreeSurfer codes of SAMSEG's atlas, left and right together.
SAMSEG_TO_GENERATOR: dict[int, GeneratorClass] = {
    0: GeneratorClass.AIR,
    165: GeneratorClass.SKULL,
    258: GeneratorClass.SOFT_TISSUE,
    259: GeneratorClass.EYE_FLUID,
    24: GeneratorClass.CSF,
    3: GeneratorClass.CEREBRAL_CORTEX,
    42: GeneratorClass.CEREBRAL_CORTEX,
    2: GeneratorClass.CEREBRAL_WHITE_MATTER,
    41: GeneratorClass.CEREBRAL_WHITE_MATTER,
    4: GeneratorClass.VENTRICLE,
    43: GeneratorClass.VENTRICLE,
    5: GeneratorClass.VENTRICLE,
    44: GeneratorClass.VENTRICLE,
    14: GeneratorClass.VENTRICLE,
    15: GeneratorClass.VENTRICLE,
    72: GeneratorClass.VENTRICLE,
    31: GeneratorClass.CHOROID_PLEXUS,
    63: GeneratorClass.CHOROID_PLEXUS,
    10: GeneratorClass.THALAMUS,
    49: GeneratorClass.THALAMUS,
    11: GeneratorClass.CAUDATE,
    50: GeneratorClass.CAUDATE,
    12: GeneratorClass.PUTAMEN,
    51: GeneratorClass.PUTAMEN,
    13: GeneratorClass.PALLIDUM,
    52: GeneratorClass.PALLIDUM,
    17: GeneratorClass.HIPPOCAMPUS,
    53: GeneratorClass.HIPPOCAMPUS,
    18: GeneratorClass.AMYGDALA,
    54: GeneratorClass.AMYGDALA,
    26: GeneratorClass.ACCUMBENS,
    58: GeneratorClass.ACCUMBENS,
    28: GeneratorClass.VENTRAL_DIENCEPHALON,
    60: GeneratorClass.VENTRAL_DIENCEPHALON,
    8: GeneratorClass.CEREBELLAR_CORTEX,
    47: GeneratorClass.CEREBELLAR_CORTEX,
    7: GeneratorClass.CEREBELLAR_WHITE_MATTER,
    46: GeneratorClass.CEREBELLAR_WHITE_MATTER,
    16: GeneratorClass.BRAINSTEM,
    85: GeneratorClass.OPTIC_CHIASM,
    30: GeneratorClass.VESSEL,
    62: GeneratorClass.VESSEL,
    77: GeneratorClass.WHITE_MATTER_HYPOINTENSITY,
    80: GeneratorClass.WHITE_MATTER_HYPOINTENSITY,
}

# FreeSurfer codes of paired structures on the patient's left.
SAMSEG_LEFT = (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28, 30, 31)
