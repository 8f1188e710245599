"""Every variant against ``helpers.networks_reference``: same weights, same volume, float64, one token at a time."""

import pytest
import torch

from helpers import networks_reference as reference
from helpers.perturbed_networks import PUBLISHED_HEADS, perturbed_network
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.networks.scan.selective_scan import available_backends
from NNMambaLib.networks.variants import VARIANTS

SIZE = (16, 32, 48)  # z, y, x: all different, so that no two axes can be mistaken for each other
BACKENDS = [name for name, reason in available_backends().items() if reason is None]


def random_volume(batch=2, channels=2, size=SIZE):
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(1))


def relative_error(computed, expected):
    """Largest difference over the largest expected magnitude."""
    assert computed.shape == expected.shape
    return ((computed.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_reference(variant):
    network, x = perturbed_network(variant, base_width=16), random_volume()
    with torch.no_grad():
        (expected,) = reference.forward(network.state_dict(), variant, x)
        for backend in BACKENDS:
            device = "cuda" if backend == "mamba-ssm" else "cpu"
            set_scan_backend(network, backend)
            assert relative_error(network.to(device)(x.to(device)).cpu(), expected) < 1e-5, backend
        set_scan_backend(network, "auto")
        assert relative_error(network.cpu().double()(x.double()), expected) < 1e-10


@pytest.mark.parametrize("variant", ["SEG-CSS", "SEG-CSS-FULL", "SEG-NNU", "SEG-NNU2"])
def test_deep_supervision_equals_the_reference_in_training(variant):
    network, x = perturbed_network(variant, base_width=16, deep_supervision=True).train(), random_volume()
    with torch.no_grad():
        expected = reference.forward(network.state_dict(), variant, x, training=True)
        computed = network(x)
        exact = network.double()(x.double())
    heads = PUBLISHED_HEADS.get(variant) or 5
    assert [output.shape[1] for output in computed] == [5, heads, heads, heads]
    assert [output.shape[2:] for output in computed] == [SIZE, (8, 16, 24), (4, 8, 12), (2, 4, 6)]
    for single, double, wanted in zip(computed, exact, expected, strict=True):
        assert relative_error(single, wanted) < 1e-4  # batch statistics of 12 voxels at 1/16 amplify rounding
        assert relative_error(double, wanted) < 1e-10


def test_deep_supervision_does_not_change_inference():
    network, x = perturbed_network("SEG-NNU", base_width=16), random_volume()
    with torch.no_grad():
        assert relative_error(network(x), reference.forward(network.state_dict(), "SEG-NNU", x)[0]) < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_equal_the_reference(variant):
    network = perturbed_network(variant, base_width=16).double()
    x = random_volume(size=(16, 16, 32)).double().requires_grad_()
    weights = dict(network.named_parameters(remove_duplicate=False))
    leaves = [x, *network.parameters()]
    (expected,) = reference.forward({**network.state_dict(), **weights}, variant, x)
    computed = network(x)
    weight = torch.randn(computed.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected_gradients = torch.autograd.grad(expected, leaves, weight, allow_unused=True)
    computed_gradients = torch.autograd.grad(computed, leaves, weight, allow_unused=True)
    names = ["x", *(name for name, _ in network.named_parameters())]
    for name, value, wanted in zip(names, computed_gradients, expected_gradients, strict=True):
        assert (value is None) == (wanted is None) == name.startswith("ds"), name
        if value is not None and wanted.abs().max() > 0:
            assert relative_error(value, wanted) < 1e-9, name


@pytest.mark.parametrize("variant", ["SEG-CSS", "CLS"])
def test_volumes_of_a_batch_do_not_mix(variant):
    network, x = perturbed_network(variant, base_width=16), random_volume()
    with torch.no_grad():
        together = network(x)
        alone = torch.cat([network(x[:1]), network(x[1:])])
    assert relative_error(together, alone.double()) < 1e-5


@pytest.mark.parametrize("shape", [(1, 2, 16, 32, 40), (1, 3, 16, 16, 16), (2, 16, 16, 16)], ids=str)
def test_names_the_size_that_it_needs(shape):
    network = perturbed_network("SEG-CSS", base_width=16)
    with pytest.raises(ValueError, match=r"\(batch, 2, z, y, x\).*divisible by 16"):
        network(torch.zeros(shape))
