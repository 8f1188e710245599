"""Labels of the `brain-structures` model, and how the generator's classes become them."""

from enum import IntEnum

import numpy as np

from NNMambaBrainModels.heads.brain_labels import GeneratorClass

# Set in a coded structure (see `encode`) that lies on the patient's left.
LEFT_BIT = 32


class StructureLabel(IntEnum):
    """Labels of the `brain-structures` model."""

    BACKGROUND = 0
    OTHER_HEAD = 1
    CEREBRAL_CORTEX = 2
    CEREBRAL_WHITE_MATTER = 3
    VENTRICLES = 4
    CSF = 5
    LEFT_THALAMUS = 6
    RIGHT_THALAMUS = 7
    LEFT_CAUDATE = 8
    RIGHT_CAUDATE = 9
    LEFT_PUTAMEN = 10
    RIGHT_PUTAMEN = 11
    LEFT_PALLIDUM = 12
    RIGHT_PALLIDUM = 13
    LEFT_HIPPOCAMPUS = 14
    RIGHT_HIPPOCAMPUS = 15
    LEFT_AMYGDALA = 16
    RIGHT_AMYGDALA = 17
    BRAINSTEM = 18
    CEREBELLUM = 19
    BASAL_FOREBRAIN_AND_DIENCEPHALON = 20


# Structures with a label for each side: the left one's; the right one's is the next.
PAIRED: dict[GeneratorClass, StructureLabel] = {
    GeneratorClass.THALAMUS: StructureLabel.LEFT_THALAMUS,
    GeneratorClass.CAUDATE: StructureLabel.LEFT_CAUDATE,
    GeneratorClass.PUTAMEN: StructureLabel.LEFT_PUTAMEN,
    GeneratorClass.PALLIDUM: StructureLabel.LEFT_PALLIDUM,
    GeneratorClass.HIPPOCAMPUS: StructureLabel.LEFT_HIPPOCAMPUS,
    GeneratorClass.AMYGDALA: StructureLabel.LEFT_AMYGDALA,
}
UNPAIRED: dict[GeneratorClass, StructureLabel] = {
    GeneratorClass.AIR: StructureLabel.BACKGROUND,
    GeneratorClass.SKULL: StructureLabel.OTHER_HEAD,
    GeneratorClass.SOFT_TISSUE: StructureLabel.OTHER_HEAD,
    GeneratorClass.EYE_FLUID: StructureLabel.OTHER_HEAD,
    GeneratorClass.CSF: StructureLabel.CSF,
    GeneratorClass.CEREBRAL_CORTEX: StructureLabel.CEREBRAL_CORTEX,
    GeneratorClass.CEREBRAL_WHITE_MATTER: StructureLabel.CEREBRAL_WHITE_MATTER,
    GeneratorClass.WHITE_MATTER_HYPOINTENSITY: StructureLabel.CEREBRAL_WHITE_MATTER,
    GeneratorClass.VENTRICLE: StructureLabel.VENTRICLES,
    GeneratorClass.CHOROID_PLEXUS: StructureLabel.VENTRICLES,
    GeneratorClass.ACCUMBENS: StructureLabel.BASAL_FOREBRAIN_AND_DIENCEPHALON,
    GeneratorClass.VENTRAL_DIENCEPHALON: StructureLabel.BASAL_FOREBRAIN_AND_DIENCEPHALON,
    GeneratorClass.OPTIC_CHIASM: StructureLabel.BASAL_FOREBRAIN_AND_DIENCEPHALON,
    # SAMSEG's "vessel" marks the perivascular spaces below the putamen.
    GeneratorClass.VESSEL: StructureLabel.BASAL_FOREBRAIN_AND_DIENCEPHALON,
    GeneratorClass.CEREBELLAR_CORTEX: StructureLabel.CEREBELLUM,
    GeneratorClass.CEREBELLAR_WHITE_MATTER: StructureLabel.CEREBELLUM,
    GeneratorClass.BRAINSTEM: StructureLabel.BRAINSTEM,
}


def encode(classes: np.ndarray, left: np.ndarray | None) -> np.ndarray:
    """Return generator classes (any shape) with LEFT_BIT set where `left` is true; uint8."""
    return classes if left is None else classes | (np.asarray(left, dtype=np.uint8) * LEFT_BIT)


def label_table(mirrored: bool = False) -> np.ndarray:
    """Return the label of each coded structure, uint8 (64,); left and right change places in a mirrored head."""
    table = np.zeros(2 * LEFT_BIT, dtype=np.uint8)
    for generator_class, label in UNPAIRED.items():
        table[[generator_class, generator_class | LEFT_BIT]] = label
    for generator_class, left_label in PAIRED.items():
        table[generator_class | LEFT_BIT] = left_label + mirrored
        table[generator_class] = left_label + (not mirrored)
    return table
