"""Model packages whose answer is known: SEG-CSS networks with weights set by hand.

Each output is a rectified linear function of the intensity at its voxel. The intensity goes through the stem, the
uppermost skip and the last two blocks of the decoder; what the stages and their Mamba layers compute, with random
weights, is multiplied by zero at the end. The stem halves the volume, so an intensity is the mean over 2x2x2 voxels.
"""

import torch

from NNMambaLib.models.manifest import (
    Channel,
    HeatmapDecoding,
    InputSpecification,
    Label,
    LandmarkDefinition,
    Manifest,
    Normalization,
)
from NNMambaLib.models.package import write_package
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.variants import build

LABEL_NAMES = ("low", "middle", "high")
LANDMARK_NAMES = ("front", "side", "top")
# Of a peak's height, for a landmark to be found.
FOUND_ABOVE = 1.0
_WIDTH = 4


def write_segmentation_package(folder, sharpness=8.0, name="nearest-number", **input_fields):
    """Write a package that labels each voxel with the whole number, 0 to 3, nearest to its intensity.

    A label's probability is proportional to exp(-sharpness (intensity - label)^2 / 2).
    """
    numbers = torch.arange(len(LABEL_NAMES) + 1.0)
    # The square of the intensity is the same for all labels; the offset keeps outputs clear of the last rectifier.
    offset = numbers[-1] ** 2
    network = _linear_network(sharpness * numbers[:, None], sharpness * (offset - numbers**2 / 2))
    labels = tuple(
        Label(value, label, color)
        for value, label, color in zip(
            (1, 2, 3), LABEL_NAMES, ((230, 80, 60), (70, 170, 90), (60, 90, 220)), strict=True
        )
    )
    manifest = _manifest(name, "segmentation", ("intensity",), len(labels) + 1, input_fields, labels=labels)
    return write_package(folder, manifest, network)


def write_landmarks_package(folder, name="brightest-point", **input_fields):
    """Write a package with three channels, whose landmarks are the brightest point of each."""
    count = len(LANDMARK_NAMES)
    network = _linear_network(torch.eye(count), torch.zeros(count))
    landmarks = tuple(LandmarkDefinition(name, f"Brightest point of the channel {name}") for name in LANDMARK_NAMES)
    heatmap = HeatmapDecoding(slope=4.0, intercept=-4.0 * FOUND_ABOVE, threshold=0.5)
    manifest = _manifest(
        name, "landmarks", LANDMARK_NAMES, count, input_fields, landmarks=landmarks, heatmap=heatmap
    )  # fmt: skip
    return write_package(folder, manifest, network)


def _linear_network(weight, bias):
    """Return a SEG-CSS whose outputs are the rectified `weight` (output, channel) times the intensities plus `bias`."""
    outputs, channels = weight.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(NetworkDescription("SEG-CSS", channels, outputs, _WIDTH))
    with torch.no_grad():
        for block in (network.in_conv, network.conv7, network.conv8):
            _make_transparent(block)
        # The taps of a voxel and its upper neighbour along each axis: no shift by half a voxel, which one tap has.
        for channel in range(channels):
            network.in_conv.conv[0].weight[channel, channel, 1:, 1:, 1:] = 1 / 8
            network.in_conv.conv[3].weight[channel, channel, 1, 1, 1] = 1
            network.conv7.conv[0].weight[channel, 2 * _WIDTH + channel, 1, 1, 1] = 1
            network.conv7.conv[3].weight[channel, channel, 1, 1, 1] = 1
        network.att1.layer2.bias.fill_(100)
        network.conv8.conv[0].weight[:, :channels, 1, 1, 1] = weight
        network.conv8.conv[0].bias.copy_(bias)
        for output in range(outputs):
            network.conv8.conv[3].weight[output, output, 1, 1, 1] = 1
    return network


def _make_transparent(double_conv):
    for layer in (0, 3):
        double_conv.conv[layer].weight.zero_()
        double_conv.conv[layer].bias.zero_()
        norm = double_conv.conv[layer + 1]
        norm.running_var.fill_(1 - norm.eps)


def _manifest(name, task, channels, outputs, input_fields, **sections):
    fields = {"patch": (32, 32, 32), "spacing": (3.0, 3.0, 3.0), "anti_aliasing": False, **input_fields}
    return Manifest(
        name=name,
        version="1.0.0",
        title="Hand-set weights",
        description="Answers that a test can know beforehand.",
        task=task,
        network=NetworkDescription("SEG-CSS", len(channels), outputs, _WIDTH),
        input=InputSpecification(tuple(Channel(c, Normalization("none")) for c in channels), **fields),
        licence="Apache-2.0",
        intended_use="Tests only.",
        **sections,
    )
