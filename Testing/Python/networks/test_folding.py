"""The form for inference against the plain network that it is made from: the same function."""

import copy
import itertools
import platform

import psutil
import pytest
import torch

from helpers.perturbed_networks import build_network, perturbed_network, random_network
from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.inference.preprocessing import prepare
from NNMambaLib.models.catalogue import bundled_packages, sample_volume
from NNMambaLib.networks.convolution import bfloat16_unavailable_reason
from NNMambaLib.networks.folding import folded_upsampling
from NNMambaLib.networks.folding.fold import fold
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.networks.scan.selective_scan import available_backends
from NNMambaLib.networks.variants import VARIANTS
from NNMambaLib.runtime.allocation import memory_kept
from NNMambaLib.volumes.files import read_volume

BACKENDS = [name for name in ("torch", "numba") if available_backends()[name] is None]


def random_volume(batch=2, channels=2, size=(16, 32, 48)):
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(1))


def relative_error(computed, expected):
    """Largest difference over the largest expected magnitude."""
    assert computed.shape == expected.shape
    return ((computed.double() - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_folded_network_is_the_plain_one(variant):
    network = perturbed_network(variant, base_width=16).double()
    x = random_volume().double()
    assert relative_error(fold(network)(x), network(x)) < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("values", [1, 2**15, 2**16, 2**17])
def test_slabs_of_the_last_convolutions_fit_together(values, monkeypatch):
    """From slabs of one plane to a single one; the volume is small enough that each is on some border."""
    monkeypatch.setattr(folded_upsampling, "SLAB_VALUES", values)
    network = perturbed_network("SEG-CSS", base_width=16).double()
    x = random_volume(size=(48, 16, 32)).double()
    assert relative_error(fold(network)(x), network(x)) < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rounding_in_float32(variant, backend):
    """On random weights; 2e-6 of the largest output is what is promised."""
    network = random_network(variant)
    x = random_volume(1, 1)
    expected = copy.deepcopy(network).double()(x.double())
    folded = fold(network)
    for form in (network, folded):
        set_scan_backend(form, backend)
        assert relative_error(form(x), expected) < 2e-6


@torch.no_grad()
@pytest.mark.parametrize("package", bundled_packages(), ids=lambda package: package.manifest.name)
def test_rounding_with_trained_weights(package):
    """On a part of the sample head: what a package's network is when it is loaded, and what it is when it runs."""
    head = prepare(read_volume(sample_volume()), package.manifest.input)
    x = torch.from_numpy(fit_to_patch(head.array, (48, 48, 48)))[None]
    network = package.load()
    expected = package.load().double()(x.double())
    folded = fold(network)
    for backend, form in itertools.product(BACKENDS, (network, folded)):
        set_scan_backend(form, backend)
        assert relative_error(form(x), expected) < 2e-6, (backend, form is folded)


@torch.no_grad()
@pytest.mark.skipif(bfloat16_unavailable_reason(torch.device("cpu")) is not None, reason="the processor lacks it")
@pytest.mark.parametrize("variant", ["SEG-CSS", "SEG-CSS-FULL", "V1-SEG", "CLS"])
def test_convolutions_in_bfloat16_keep_the_rest_in_float32(variant):
    network, x = perturbed_network(variant, base_width=16), random_volume()
    expected = network(x)
    computed = fold(network, torch.bfloat16)(x)
    assert computed.dtype == torch.float32
    # Eight bits of mantissa: not equal, not far.
    assert 1e-4 < ((computed - expected).norm() / expected.norm()).item() < 0.06


@torch.no_grad()
def test_the_plain_network_stays_as_it_was():
    network, x = perturbed_network("SEG-CSS", base_width=16), random_volume()
    expected = network(x)
    fold(network)
    assert torch.equal(network(x), expected)


def test_a_network_in_training_is_refused():
    network = build_network("SEG-CSS", 1, 3, 16)
    with pytest.raises(ValueError, match="eval"):
        fold(network)
    network.eval().conv8.conv[-1] = torch.nn.LeakyReLU(0.1)
    with pytest.raises(ValueError, match="finish its training"):
        fold(network)


def test_layers_that_blocks_share_stay_shared():
    folded = fold(build_network("SEG-CSS", 1, 3, 16).eval())
    assert folded.layer1[1].mamba_layer is folded.layer1[2].mamba_layer
    assert folded.layer1[0].mamba_layer is None


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 35),
    reason="other allocators, and older ones, cannot be told",
)
def test_memory_is_kept_while_the_context_lasts():
    import resource

    def pages_of_a_tensor():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**25)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    process = psutil.Process()
    with memory_kept():
        with memory_kept():
            for _ in range(5):
                pages_of_a_tensor()
        assert pages_of_a_tensor() < 1000  # 128 MiB in pages of 4 KiB are 32768
        kept = process.memory_info().rss
    assert kept - process.memory_info().rss > 100 * 2**20
