"""The steps of both versions of nnU-Net, as a manifest says them, give what a plain reference with scipy gives."""

import numpy as np
import pytest
import torch

from helpers import nnunet_reference as reference
from helpers.perturbed_networks import random_network
from NNMambaLib.engine import Engine
from NNMambaLib.errors import VolumeError
from NNMambaLib.inference.preprocessing import prepare
from NNMambaLib.inference.sliding_window import Tiling, sliding_window
from NNMambaLib.models.manifest import (
    Channel,
    InputSpecification,
    Label,
    Manifest,
    Normalization,
)
from NNMambaLib.models.package import write_package
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.volumes.volume import Volume

_PATCH = (16, 16, 16)


def plans(version, spacing, schemes=("z-score", "CT"), use_mask=(True, True), transpose=(0, 1, 2)):
    return reference.Plans(version, spacing, _PATCH, schemes, use_mask, transpose)


def specification(given):
    """Return what a manifest says of nnU-Net's plans."""
    kinds = {
        "z-score": lambda mask: Normalization("z-score", "foreground" if mask else "all"),
        "none": lambda mask: Normalization("none"),
        "CT": lambda mask: Normalization("ct", "foreground" if mask and given.version == 1 else "all", **given.ct),
    }
    pairs = zip(given.schemes, given.use_mask, strict=True)
    return InputSpecification(
        channels=tuple(Channel(f"channel {n}", kinds[scheme](mask)) for n, (scheme, mask) in enumerate(pairs)),
        patch=given.patch[::-1],
        spacing=given.spacing[::-1],
        orientation=None,
        axes="array",
        interpolation="cubic",
        anti_aliasing=False,
        mirror_axes=("x", "y", "z"),
        axis_order=tuple("zyx"[axis] for axis in reversed(given.transpose)),
        crop="nonzero",
        planes="anisotropic",
        normalize="after" if given.version == 1 else "before",
        window="nnunet",
        averages="probabilities" if given.version == 1 else "logits",
    )


def head(shape=(20, 26, 30), channels=2, seed=0):
    """Return a random body in air, off the center, with a hole of zeros inside."""
    generator = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(-1, 1, complex(0, size)) for size in shape)]
    body = (z / 0.8) ** 2 + ((y - 0.1) / 0.7) ** 2 + ((x + 0.15) / 0.75) ** 2 < 1
    hole = z**2 + (y - 0.1) ** 2 + (x + 0.15) ** 2 < 0.05
    array = generator.normal(20, 40, (channels, *shape)) + 100 * np.sin(3 * z + 2 * y) * np.cos(4 * x)
    return np.where(body & ~hole, array, 0).astype(np.float32)


def volume(array, spacing):
    """Return the array on an oblique, mirrored grid with a spacing along (z, y, x)."""
    turn = np.array([[0, -0.8, 0.6], [-1, 0, 0], [0, 0.6, 0.8]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * spacing[::-1]
    matrix[:3, 3] = (10, -20, 30)
    return Volume(array, matrix)


CASES = {
    "isotropic": ((1.0, 1.0, 1.0), (1.3, 1.3, 1.3)),
    "same spacing": ((1.5, 1.5, 1.5), (1.5, 1.5, 1.5)),
    "finer": ((2.0, 1.5, 1.5), (1.0, 1.0, 1.0)),
    "anisotropic volume": ((4.0, 1.0, 1.0), (2.0, 1.2, 0.9)),
    "anisotropic model": ((1.5, 1.0, 1.0), (4.0, 0.9, 1.1)),
    "both anisotropic": ((5.0, 1.0, 1.2), (4.0, 1.3, 1.0)),
    "two coarse axes": ((1.0, 4.0, 4.0), (1.2, 3.0, 3.0)),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_a_volume_is_prepared_as_by_nnunet(case, version):
    spacing, target = CASES[case]
    given, array = plans(version, target), head()
    expected, _, _ = reference.preprocessed(array, spacing, given)
    np.testing.assert_allclose(prepare(volume(array, spacing), specification(given)).array, expected, atol=1e-4)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("transpose", [(1, 0, 2), (2, 0, 1), (1, 2, 0)])
def test_axes_are_transposed_as_by_nnunet(transpose, version):
    spacing, array = (1.0, 1.4, 4.5), head()
    given = plans(version, (3.0, 1.1, 1.2), transpose=transpose)
    expected, _, _ = reference.preprocessed(array, spacing, given)
    np.testing.assert_allclose(prepare(volume(array, spacing), specification(given)).array, expected, atol=1e-4)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("schemes", [("CT", "none"), ("none", "z-score"), ("z-score", "z-score")])
@pytest.mark.parametrize("use_mask", [(True, False), (False, True), (False, False)])
def test_channels_are_normalized_as_by_nnunet(schemes, use_mask, version):
    given, array = plans(version, (1.3, 1.1, 0.9), schemes, use_mask), head()
    expected, _, _ = reference.preprocessed(array, (1.0, 1.0, 1.0), given)
    np.testing.assert_allclose(prepare(volume(array, (1.0, 1.0, 1.0)), specification(given)).array, expected, atol=2e-4)


def test_a_volume_of_zeros_is_refused():
    with pytest.raises(VolumeError, match="holds only zeros"):
        prepare(volume(np.zeros((2, 8, 8, 8), np.float32), (1, 1, 1)), specification(plans(1, (1.0, 1.0, 1.0))))


@pytest.mark.parametrize("patch", [(16, 32, 48), (16, 16, 16)])
def test_the_windows_center_lies_where_nnunets_does(patch):
    shape = (40, 37, 50)
    tiling = Tiling.plan(shape, patch, window="nnunet")
    values = np.random.default_rng(0).normal(size=(100, *patch)).astype(np.float32)
    corners, total, weights = [], np.zeros(shape), np.zeros(shape)

    def predict(tile):
        corners.append(None)
        return torch.from_numpy(values[len(corners) - 1][None].copy())

    blended = np.empty(shape, np.float32)
    for rows in sliding_window(predict, np.random.default_rng(1).random((1, *shape), np.float32), tiling, 1):
        blended[rows.place[1:]] = rows.values[0].numpy()
    gaussian, number = reference.window(patch), 0
    starts = [
        reference.steps(size, width) if size > width else [-((width - size) // 2)]
        for size, width in zip(shape, patch, strict=True)
    ]
    assert [list(axis) for axis in tiling.starts] == starts
    axis = tiling.stream_axis
    order = [axis, *(other for other in range(3) if other != axis)]
    for first in starts[order[0]]:
        for second in starts[order[1]]:
            for third in starts[order[2]]:
                corner = dict(zip(order, (first, second, third), strict=True))
                tile, place = [], []
                for index in range(3):
                    low, high = max(0, corner[index]), min(shape[index], corner[index] + patch[index])
                    tile.append(slice(low - corner[index], high - corner[index]))
                    place.append(slice(low, high))
                total[tuple(place)] += values[number][tuple(tile)] * gaussian[tuple(tile)]
                weights[tuple(place)] += gaussian[tuple(tile)]
                number += 1
    np.testing.assert_allclose(blended, total / weights, atol=1e-5)


def test_tiles_start_where_nnunets_do():
    for size in range(17, 400):
        assert list(Tiling.plan((size, 16, 16), _PATCH).starts[0]) == reference.steps(size, 16), size


# --- from the volume to its labels -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    """Its outputs vary as much as one another, so that every label is found somewhere."""
    network = random_network("SEG-NNU", 2, 4, base_width=2)
    last = network.conv8.conv[4]
    torch.nn.init.ones_(last.weight)
    torch.nn.init.ones_(last.bias)
    last.momentum = 1.0
    last.train()
    with torch.no_grad():
        network(torch.randn(1, 2, 32, 32, 32))
    return network.eval()


@pytest.fixture(scope="module")
def engine():
    return Engine(device="cpu", backend="torch")


def packed(folder, network, given):
    manifest = Manifest(
        name="nnunet",
        version="1.0.0",
        title="t",
        description="d",
        task="segmentation",
        network=NetworkDescription("SEG-NNU", 2, 4, 2, 4),
        input=specification(given),
        licence="none",
        intended_use="tests",
        labels=tuple(Label(n, f"label {n}", (n, n, n)) for n in (1, 2, 3)),
    )
    return write_package(folder, manifest, network)


@pytest.mark.parametrize(
    ("case", "version", "transpose", "mirror"),
    [
        ("isotropic", 1, (0, 1, 2), False),
        ("isotropic", 2, (0, 1, 2), False),
        ("same spacing", 1, (2, 1, 0), False),
        ("same spacing", 2, (0, 1, 2), True),
        ("anisotropic volume", 2, (0, 1, 2), False),
        ("anisotropic model", 1, (0, 1, 2), False),
        ("both anisotropic", 2, (1, 0, 2), False),
        ("finer", 1, (2, 0, 1), False),
    ],
)
def test_labels_and_probabilities_are_nnunets(tmp_path, engine, network, case, version, transpose, mirror):
    spacing, target = CASES[case]
    given, array = plans(version, target, transpose=transpose), head()
    labels, probabilities = reference.segmented(network, array, spacing, given, mirror)
    package = packed(tmp_path, network, given)
    result = engine.segment(volume(array, spacing), package, mirror=mirror, probabilities=True, pad_small=True)
    # Probabilities are handed over in half precision.
    np.testing.assert_allclose(result.probabilities.array, probabilities, atol=1e-3)
    assert (result.labels.array[0] == labels).mean() > 0.9999
    assert np.bincount(labels.ravel(), minlength=4).min() > 10
    only_labels = engine.segment(volume(array, spacing), package, mirror=mirror, pad_small=True)
    assert (only_labels.labels.array[0] == labels).mean() > 0.9999
