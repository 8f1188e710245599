"""What the paper and the authors' code say about their published models, and what they leave open.

Sizes and spacings are along (x, y, z). arXiv 2402.03526; the settings are those of its experiments and their scripts.
"""

from __future__ import annotations

from dataclasses import dataclass

from NNMambaLib.models.manifest import Normalization
from NNMambaLib.volumes.volume import Shape, Spacing

_AMOS_LABELS = (
    "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta", "postcava",
    "pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder", "prostate or uterus",
)  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """A published experiment.

    Attributes:
        summary: for lists.
        task: of the model.
        inputs, outputs: of its network.
        names: of its labels (without background), landmarks or classes; empty where they are not published.
        patch: voxels that the network takes at a time.
        spacing: mm; None where it is not published, or the volume is resampled to `shape`.
        shape: voxels to which the whole volume is resampled.
        normalization: None where it is not published.
        mirrored: whether the model was trained with mirrored volumes.
        assumed: what is not published and was taken to be so, in sentences.
    """

    summary: str
    task: str
    inputs: int
    outputs: int
    patch: Shape
    names: tuple[str, ...] = ()
    question: str = ""
    spacing: Spacing | None = None
    shape: Shape | None = None
    normalization: Normalization | None = None
    mirrored: bool = False
    assumed: tuple[str, ...] = ()


_ADNI = (
    "volumes are registered and resampled to 1.5 mm by CAT12, whose settings are not published",
    "volumes are padded or cropped about their center to 112 x 136 x 112 voxels",
    "the second class is predicted from a probability of 0.5 on (the paper takes Youden's threshold on its test data)",
)

PRESETS: dict[str, Preset] = {
    "lfc": Preset(
        "landmarks of the fetal cerebellum in MR",
        "landmarks",
        inputs=1,
        outputs=6,
        patch=(128, 128, 128),
        names=("TCD1", "TCD2", "HDV1", "HDV2", "ADV1", "ADV2"),
        shape=(128, 128, 128),
        normalization=Normalization("clip-sd", "positive", sds=2.0),
        assumed=("the whole volume is resampled linearly, its outermost faces kept in place",),
    ),
    "adni-nc-ad": Preset(
        "classification of T1-weighted MR: normal cognition or Alzheimer's disease",
        "classification",
        inputs=1,
        outputs=1,
        patch=(112, 136, 112),
        names=("NC", "AD"),
        question="NC or AD",
        spacing=(1.5, 1.5, 1.5),
        normalization=Normalization("none"),
        assumed=_ADNI,
    ),
    "adni-smci-pmci": Preset(
        "classification of T1-weighted MR: stable or progressive mild cognitive impairment",
        "classification",
        inputs=1,
        outputs=1,
        patch=(112, 136, 112),
        names=("sMCI", "pMCI"),
        question="sMCI or pMCI",
        spacing=(1.5, 1.5, 1.5),
        normalization=Normalization("none"),
        assumed=_ADNI,
    ),
    "brats": Preset(
        "segmentation of gliomas in four MR sequences (BraTS 2023 GLI)",
        "segmentation",
        inputs=4,
        outputs=4,
        patch=(128, 128, 128),
        spacing=(1.0, 1.0, 1.0),
        normalization=Normalization("z-score", "nonzero"),
        mirrored=True,
        assumed=(
            "the order of the sequences and of the labels is not published: take both from the training's dataset.json "
            "and name them with --channels and --labels",
        ),
    ),
    "amos": Preset(
        "segmentation of fifteen abdominal organs (AMOS 2022)",
        "segmentation",
        inputs=1,
        outputs=16,
        patch=(128, 128, 128),
        names=_AMOS_LABELS,
        mirrored=True,
    ),
}
