"""`gated_scans` against Mamba over explicitly flipped tokens and against the recurrence itself, both in float64."""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import NNMambaLib
from helpers import selective_scan_reference as reference
from helpers.perturbed_networks import enliven
from helpers.thread_checks import assert_two_threads_compute_what_one_does
from NNMambaLib.errors import BackendError
from NNMambaLib.networks.mamba import Mamba
from NNMambaLib.networks.scan.gated_scans import gated_scans, warm_up
from NNMambaLib.networks.scan.scan_parameters import ScanParameters
from NNMambaLib.networks.scan.selective_scan import available_backends
from NNMambaLib.runtime.threads import for_each

BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(available_backends()[name] is not None, reason=f"no {name}"))
    for name in ("numba", "torch")
]
needs_numba = pytest.mark.skipif(available_backends()["numba"] is not None, reason="no numba")
CASES = list(itertools.product((1, 2), (1, 2)))  # groups, directions


def random_parameters(channels, states, rank=3, taps=4, seed=0):
    """In float64; decay rates from 0.02 to 20, so that some states remember far across chunks."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return ScanParameters(
        conv_weight=normal(channels, taps),
        conv_bias=normal(channels),
        x_proj=normal(rank + 2 * states, channels) * channels**-0.5,
        dt_weight=normal(channels, rank),
        dt_bias=normal(channels) - 1,
        A=-torch.exp(7 * torch.rand(channels, states, generator=generator, dtype=torch.float64) - 4),
        D=normal(channels),
    )


def random_mixed(batch, length, groups, channels, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, groups * 2 * channels, generator=generator, dtype=torch.float64)


def converted(parameters, dtype):
    return ScanParameters(*(getattr(parameters, f.name).to(dtype) for f in dataclasses.fields(parameters)))


def expected_scans(mixed, parameters, directions):
    """As the definition reads, one group and one direction after another."""
    channels = len(parameters.A)
    outputs = []
    for group in mixed.split(2 * channels, dim=2):
        x, z = group.chunk(2, dim=2)
        y = one_direction(x, parameters)
        if directions == 2:
            y = y + one_direction(x.flip(1), parameters).flip(1)
        outputs.append(y * functional.silu(z))
    return torch.cat(outputs, dim=2)


def one_direction(x, parameters):
    channels, states = parameters.A.shape
    taps = parameters.conv_weight.shape[1]
    x = functional.conv1d(
        x.transpose(1, 2), parameters.conv_weight[:, None], parameters.conv_bias, padding=taps - 1, groups=channels
    )
    x = functional.silu(x[..., : x.shape[2] - taps + 1].transpose(1, 2))
    rank = parameters.dt_weight.shape[1]
    step, B, C = (x @ parameters.x_proj.T).split([rank, states, states], dim=2)
    return reference.selective_scan(
        x, step @ parameters.dt_weight.T, parameters.A, B, C, parameters.D, None, parameters.dt_bias, True
    )


def relative_error(computed, expected):
    """Largest difference over the largest expected magnitude."""
    return ((computed.double() - expected).abs().max() / expected.abs().max()).item()


def compare(backend, mixed, parameters, directions, bound=2e-6):
    computed = gated_scans(mixed.float(), converted(parameters, torch.float32), directions, backend)
    expected = expected_scans(
        mixed.float().double(), converted(converted(parameters, torch.float32), torch.float64), directions
    )
    assert computed.dtype == torch.float32
    assert computed.shape == expected.shape
    assert relative_error(computed, expected) < bound


@pytest.mark.parametrize(("groups", "directions"), CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_at_every_size(backend, groups, directions):
    for length, channels, states in [(1, 5, 1), (2, 16, 8), (7, 33, 3), (65, 64, 16), (257, 65, 8), (1025, 130, 5)]:
        compare(backend, random_mixed(2, length, groups, channels), random_parameters(channels, states), directions)


@pytest.mark.parametrize("taps", [1, 2, 5])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_for_any_number_of_taps(backend, taps):
    for length in (1, 3, 40):
        compare(backend, random_mixed(2, length, 2, 20), random_parameters(20, 4, taps=taps), 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_for_more_states_than_a_kernel_holds(backend):
    compare(backend, random_mixed(1, 40, 2, 20), random_parameters(20, 70), 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_on_long_sequences(backend):
    compare(backend, random_mixed(1, 32767, 1, 7), random_parameters(7, 8), 2)


# Enough for jobs of 64, of 32 and of 16 channels.
@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_on_several_threads(backend, threads):
    torch.set_num_threads(threads)
    compare(backend, random_mixed(1, 300, 1, 130), random_parameters(130, 4), 2)


@pytest.mark.parametrize(("groups", "directions"), CASES)
def test_float64_keeps_its_precision(groups, directions):
    mixed, parameters = random_mixed(2, 257, groups, 33), random_parameters(33, 8)
    computed = gated_scans(mixed, parameters, directions)
    assert computed.dtype == torch.float64
    assert relative_error(computed, expected_scans(mixed, parameters, directions)) < 1e-12


def test_half_types_are_computed_in_float32():
    mixed, parameters = random_mixed(2, 65, 2, 20).bfloat16(), random_parameters(20, 8)
    computed = gated_scans(mixed, converted(parameters, torch.float32))
    assert computed.dtype == torch.bfloat16
    assert relative_error(computed, expected_scans(mixed.double(), parameters, 2)) < 2**-8


@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_mamba_over_the_four_flips(backend):
    torch.manual_seed(0)
    mamba = Mamba(24)
    with torch.no_grad():
        enliven(mamba)
    tokens = torch.randn(2, 123, 24)
    parameters = ScanParameters(
        conv_weight=mamba.conv1d.weight[:, 0],
        conv_bias=mamba.conv1d.bias,
        x_proj=mamba.x_proj.weight,
        dt_weight=mamba.dt_proj.weight,
        dt_bias=mamba.dt_proj.bias,
        A=-torch.exp(mamba.A_log),
        D=mamba.D,
    )
    with torch.no_grad():
        mixed = torch.cat([mamba.in_proj(tokens), mamba.in_proj(tokens.flip(2))], dim=2)
        plain, channels = mamba.out_proj(gated_scans(mixed, parameters, 2, backend).unflatten(2, (2, -1))).unbind(2)
        computed = (plain + channels.flip(2)) / 4
        mamba, tokens = mamba.double(), tokens.double()
        expected = sum(mamba(tokens.flip(axes)).flip(axes) for axes in [(), (1,), (2,), (1, 2)]) / 4
    assert relative_error(computed, expected) < 2e-6


@pytest.mark.parametrize("step", [-30.0, 50.0], ids=["hardly any decay", "immediate decay"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_extreme_steps_stay_exact(backend, step):
    parameters = dataclasses.replace(random_parameters(20, 8), dt_bias=torch.full((20,), step, dtype=torch.float64))
    compare(backend, random_mixed(1, 1000, 2, 20), parameters, 2)


@pytest.mark.parametrize("size", [1e-20, 1e4])
@pytest.mark.parametrize("backend", BACKENDS)
def test_extreme_values_stay_exact(backend, size):
    """Steps are all alike here, or follow each other in few values: a decay's rounding adds up along the memory."""
    compare(backend, size * random_mixed(2, 300, 2, 20), random_parameters(20, 8), 2, bound=4e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_not_a_number_is_not_hidden(backend):
    mixed = random_mixed(1, 20, 1, 5).float()
    mixed[0, 7, 3] = float("nan")
    parameters = converted(random_parameters(5, 4), torch.float32)
    assert gated_scans(mixed, parameters, 1, backend)[0, 7:, 3].isnan().all()
    assert not gated_scans(mixed, parameters, 1, backend)[0, :7].isnan().any()
    assert gated_scans(mixed, parameters, 2, backend)[0, :, 3].isnan().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_does_not_need_contiguous_arguments_and_leaves_them_unchanged(backend):
    mixed = random_mixed(2, 33, 2, 5).float()
    parameters = converted(random_parameters(5, 4), torch.float32)
    strided = mixed.transpose(1, 2).contiguous().transpose(1, 2)
    before = strided.clone()
    torch.testing.assert_close(gated_scans(strided, parameters, 2, backend), gated_scans(mixed, parameters, 2, backend))
    assert torch.equal(strided, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_threads_may_call_at_once(backend):
    parameters = converted(random_parameters(64, 8), torch.float32)
    cases = [random_mixed(1, 2000, 2, 64, seed=seed).float() for seed in (1, 2)]
    assert_two_threads_compute_what_one_does(lambda case: gated_scans(case, parameters, 2, backend), cases)


@needs_numba
def test_works_in_a_process_that_was_spawned():
    parameters, mixed = converted(random_parameters(20, 8), torch.float32), random_mixed(1, 50, 2, 20).float()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as process:
        computed = process.submit(gated_scans, mixed, parameters, 2, "numba").result().clone()
    torch.testing.assert_close(computed, gated_scans(mixed, parameters, 2, "numba"))


COUNT_COMPILATIONS = """
from NNMambaLib.networks.scan.gated_scans import warm_up
warm_up()
from NNMambaLib.kernels import gated_scan, scan
kernels = [gated_scan.convolve, *gated_scan.SCANS.values(), *scan.SCANS.values()]
print(len(kernels), sum(len(k.signatures) for k in kernels), sum(sum(k.stats.cache_misses.values()) for k in kernels))
"""


@needs_numba
def test_warming_up_compiles_each_kernel_once_and_the_next_process_loads_them():
    with torch.inference_mode():
        warm_up()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", COUNT_COMPILATIONS]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["7", "7", "0"]


@pytest.mark.parametrize("name", ["gated_scan", "scan", "scan_gradient", "labels"])
def test_files_of_kernels_name_what_they_are_built_from(name):
    """Otherwise numba would load kernels compiled before a change of the arithmetic that they share."""
    package = Path(NNMambaLib.__file__).parent / "kernels"
    shared = ((package / f"{part}.py").read_text("utf-8") for part in ("arithmetic", "stack_memory"))
    digest = hashlib.sha256("".join(shared).encode()).hexdigest()[:12]
    assert f"arithmetic and stack_memory, {digest}." in (package / f"{name}.py").read_text("utf-8")


def test_jobs_run_once_each_and_at_most_as_many_at_a_time_as_torch_has_threads():
    torch.set_num_threads(3)
    lock, running, most, done = threading.Lock(), set(), [], []
    together = threading.Barrier(3, timeout=30)

    def run(job):
        with lock:
            running.add(job)
            most.append(len(running))
        together.wait()
        with lock:
            running.remove(job)
            done.append(job)

    for_each(run, [(job,) for job in range(9)])
    assert max(most) == 3
    assert sorted(done) == list(range(9))


def test_where_one_thread_suffices_it_is_the_callers_own():
    names = []
    for threads, jobs in ((1, 4), (4, 1)):
        torch.set_num_threads(threads)
        for_each(lambda _: names.append(threading.current_thread()), [(job,) for job in range(jobs)])
    assert set(names) == {threading.current_thread()}
    for_each(names.append, [])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_failure_is_raised(threads):
    torch.set_num_threads(threads)

    def run(job):
        if job > 1:
            raise ValueError(f"job {job}")

    with pytest.raises(ValueError, match="job 2"):
        for_each(run, [(job,) for job in range(5)])


def test_what_it_cannot_serve_is_refused():
    mixed = random_mixed(1, 9, 1, 5)
    parameters = random_parameters(5, 4)
    with pytest.raises(ValueError, match="multiple of 10"):
        gated_scans(mixed[:, :, :9], parameters)
    with pytest.raises(ValueError, match="directions"):
        gated_scans(mixed, parameters, directions=4)
    with pytest.raises(ValueError, match="inference"):
        gated_scans(mixed.requires_grad_(), parameters)
    with pytest.raises(BackendError, match="float32 only"):
        gated_scans(mixed.detach(), parameters, backend="numba")
