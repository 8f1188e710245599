"""Whether the parts of a manifest agree with each other, as far as its schema cannot say."""

from __future__ import annotations

from NNMambaLib.errors import ModelError
from NNMambaLib.models.manifest import Manifest
from NNMambaLib.networks.description import SIZE_DIVISOR

# Names of devices on Windows, which no file or folder there can have, whatever its ending.
DEVICE_NAMES = frozenset(("con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))))


def check_consistency(manifest: Manifest, source: str) -> None:
    """Refuse a manifest whose parts contradict each other.

    Raises:
        ModelError: naming the contradiction.
    """

    def require(condition: bool, complaint: str) -> None:
        if not condition:
            raise ModelError(f"{source}: {complaint}; correct the manifest.")

    network, given = manifest.network, manifest.input
    require(manifest.name.split(".")[0] not in DEVICE_NAMES, f"the name {manifest.name} is that of a device on Windows")
    require(
        len(given.channels) == network.in_channels,
        f"{len(given.channels)} channels are listed and the network takes {network.in_channels}",
    )
    in_voxels = bool(manifest.labels or manifest.landmarks)
    require(
        network.is_classifier != in_voxels or bool(manifest.outputs),
        f"the network {network.variant} is not for {manifest.task}",
    )
    require(not (network.is_classifier and network.head_channels), "a classifier has no head_channels")
    require((given.spacing is None) != (given.shape is None), "exactly one of input.spacing and input.shape is needed")
    require(
        not given.axis_order or (given.axes == "array" and set(given.axis_order) == {"x", "y", "z"}),
        "input.axis_order needs the axes array, and names x, y and z",
    )
    require(given.interpolation != "cubic" or given.axes == "array", "the interpolation cubic needs the axes array")
    require(given.crop == "none" or given.interpolation == "cubic", "input.crop needs the interpolation cubic")
    if given.axes == "array":
        require(given.orientation is None, "input.orientation has no meaning with the axes array")
    else:
        require(
            all(sum(letter in pair for letter in given.orientation or "") == 1 for pair in ("RL", "AP", "IS")),
            f"input.orientation is {given.orientation} and needs one letter of each pair R/L, A/P, I/S",
        )
    require(
        network.members_average == "logits" or bool(manifest.labels),
        "network.members_average probabilities is for segmentation",
    )
    # A classifier takes any size: it has no maps that must fit those of an encoder.
    divisible = network.is_classifier or all(size % SIZE_DIVISOR == 0 for size in given.patch)
    require(divisible, f"input.patch must be divisible by {SIZE_DIVISOR}")
    background = 1 if manifest.labels else 0
    named = len(manifest.labels) + len(manifest.landmarks) + len(manifest.outputs)
    outputs = background + named + sum(target.logits for target in manifest.targets)
    require(
        outputs == network.out_channels,
        f"the {manifest.task} needs {outputs} outputs and the network has {network.out_channels}",
    )
    require(not manifest.landmarks or manifest.heatmap is not None, "landmarks need the section heatmap")
    for channel in given.channels:
        low, high = channel.normalization.low, channel.normalization.high
        require(low is None or high is None or low < high, f"channel {channel.name} is clipped from {low} to {high}")
    values = sorted(label.value for label in manifest.labels)
    require(values == list(range(1, len(values) + 1)), "label values must be 1, 2, 3, ... (0 is the background)")
    for target in manifest.targets:
        require(not target.binary or len(target.classes) == 2, f"the binary target {target.name} needs two classes")
    for kind, names in (
        ("target", [target.name for target in manifest.targets]),
        ("label", [label.name for label in manifest.labels]),
        ("landmark", [landmark.name for landmark in manifest.landmarks]),
        ("output", [output["name"] for output in manifest.outputs]),
        ("channel", [channel.name for channel in given.channels]),
    ):
        require(len(set(names)) == len(names), f"two {kind}s have the same name")
