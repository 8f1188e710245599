"""What a network is, without torch: manifests and panels speak of networks that they never build."""

from __future__ import annotations

from dataclasses import dataclass

# Every stage of the encoder halves the volume once: in_conv, layer1, layer2, layer3.
SIZE_DIVISOR = 16

# The most channels at full resolution of the variant that has any: half of a published network's stem.
FULL_RESOLUTION_WIDTH = 16


# Types that convolutions can compute in; the first is the default.
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class NetworkDescription:
    """A network's variant (a name from `variants.VARIANTS`) and its sizes.

    Attributes:
        in_channels: channels of the volume.
        out_channels: labels with background, landmarks, or logits.
        base_width: channels after the stem; 32 in every published network.
        head_channels: outputs of the deep supervision heads; None without heads.
        members: networks of an ensemble, which answer as one.
        members_average: what is averaged over them, as in `ensemble.Ensemble`.
        d_state, d_conv, expand: of the Mamba layers over voxels, as in `mamba.Mamba`; None for the variant's own.
    """

    variant: str
    in_channels: int
    out_channels: int
    base_width: int = 32
    head_channels: int | None = None
    d_state: int | None = None
    d_conv: int | None = None
    expand: int | None = None
    members: int = 1
    members_average: str = "logits"

    @property
    def is_classifier(self) -> bool:
        """Whether the network has one output for the volume; the others have one at each voxel."""
        return "CLS" in self.variant

    @property
    def is_full_resolution(self) -> bool:
        """Whether its finest features are at full resolution; those of published encoder-decoders are at half."""
        return self.variant.endswith("-FULL")
