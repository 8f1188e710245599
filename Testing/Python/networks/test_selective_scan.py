"""Every scan backend against the float64 recurrence of ``helpers.selective_scan_reference``."""

import itertools

import pytest
import torch

from helpers import selective_scan_reference as reference
from helpers.thread_checks import assert_two_threads_compute_what_one_does
from NNMambaLib.errors import BackendError
from NNMambaLib.networks.scan.selective_scan import available_backends, resolve_backend, selective_scan

BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(reason is not None, reason=f"{name}: {reason}"))
    for name, reason in available_backends().items()
]


def scan_inputs(batch, length, channels, states, dtype=torch.float32, seed=0):
    """Random arguments by name; decay rates from 0.02 to 20, so that some states remember far across chunks."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    rate = torch.rand(channels, states, generator=generator, dtype=dtype)
    return {
        "u": normal(batch, length, channels),
        "delta": normal(batch, length, channels),
        "A": -torch.exp(7 * rate - 4),
        "B": normal(batch, length, states),
        "C": normal(batch, length, states),
        "D": normal(channels),
        "z": normal(batch, length, channels),
        "delta_bias": normal(channels) - 1,
    }


def run(backend, inputs, **options):
    """Call the scan on the device that the backend needs and return the result on the CPU."""
    device = "cuda" if backend == "mamba-ssm" else "cpu"
    moved = {name: tensor.to(device) for name, tensor in inputs.items()}
    return selective_scan(**moved, **options, backend=backend).cpu()


def relative_error(computed, expected):
    """Largest difference over the largest expected magnitude."""
    expected = torch.as_tensor(expected)
    return ((computed.double() - expected).abs().max() / expected.abs().max()).item()


# --- values --------------------------------------------------------------------------------------------------------

SHORT = list(itertools.product((1, 2, 3, 7, 63, 64, 65, 257), (5, 64, 65), (1, 8, 16)))
LONG = [(1000, 5, 16), (1000, 65, 8), (4096, 64, 1), (4096, 5, 8), (32767, 5, 16), (32768, 65, 1)]


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_at_every_size(backend, reverse):
    for length, channels, states in SHORT:
        inputs = scan_inputs(2, length, channels, states)
        expected = reference.selective_scan(**inputs, delta_softplus=True, reverse=reverse)
        computed = run(backend, inputs, delta_softplus=True, reverse=reverse)
        assert relative_error(computed, expected) < 1e-5, (length, channels, states)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_for_more_states_than_a_kernel_holds(backend, reverse):
    inputs = scan_inputs(2, 40, 20, 130)
    expected = reference.selective_scan(**inputs, delta_softplus=True, reverse=reverse)
    assert relative_error(run(backend, inputs, delta_softplus=True, reverse=reverse), expected) < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_states_may_grow(backend):
    inputs = scan_inputs(1, 20, 5, 8)
    inputs["A"] = inputs["A"].abs() / 10
    expected = reference.selective_scan(**inputs, delta_softplus=True)
    assert relative_error(run(backend, inputs, delta_softplus=True), expected) < 1e-5


@pytest.mark.parametrize(("length", "channels", "states"), LONG)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_on_long_sequences(backend, length, channels, states):
    inputs = scan_inputs(1, length, channels, states)
    expected = reference.selective_scan(**inputs, delta_softplus=True)
    assert relative_error(run(backend, inputs, delta_softplus=True), expected) < 1e-5


GIVEN = list(itertools.product([False, True], repeat=3))


@pytest.mark.parametrize("given", GIVEN, ids=str)
@pytest.mark.parametrize("softplus", [False, True], ids=["plain", "softplus"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_optional_arguments(backend, reverse, softplus, given):
    inputs = scan_inputs(2, 65, 5, 8)
    if not softplus:  # steps are positive, whichever way they are made
        inputs["delta"], inputs["delta_bias"] = inputs["delta"].abs(), inputs["delta_bias"].abs()
    for name, wanted in zip(("D", "z", "delta_bias"), given, strict=True):
        if not wanted:
            del inputs[name]
    expected = reference.selective_scan(**inputs, delta_softplus=softplus, reverse=reverse)
    computed = run(backend, inputs, delta_softplus=softplus, reverse=reverse)
    assert relative_error(computed, expected) < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_does_not_need_contiguous_arguments(backend):
    inputs = scan_inputs(2, 33, 5, 8)
    strided = dict(inputs)
    for name in ("u", "delta", "B", "C", "z"):
        strided[name] = inputs[name].transpose(1, 2).contiguous().transpose(1, 2)
    strided["A"] = inputs["A"].T.contiguous().T
    torch.testing.assert_close(run(backend, strided, delta_softplus=True), run(backend, inputs, delta_softplus=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_leaves_its_arguments_unchanged(backend):
    inputs = scan_inputs(2, 33, 5, 8)
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    run(backend, inputs, delta_softplus=True, reverse=True)
    for name, tensor in inputs.items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("step", [1e-6, 50.0], ids=["hardly any decay", "immediate decay"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_extreme_steps_stay_exact(backend, step):
    """Forms that divide by products of decays overflow here."""
    inputs = scan_inputs(1, 1000, 5, 16)
    inputs["delta"] = torch.full_like(inputs["delta"], step)
    inputs["delta_bias"] = torch.zeros(5)
    assert relative_error(run(backend, inputs), reference.selective_scan(**inputs)) < 1e-5


@pytest.mark.parametrize("name", ["u", "delta"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_not_a_number_is_not_hidden(backend, name):
    inputs = scan_inputs(1, 20, 5, 8)
    inputs[name][0, 7, 3] = float("nan")
    y = run(backend, inputs, delta_softplus=True)
    assert y[0, 7:, 3].isnan().all()
    assert not y[0, :7].isnan().any()


def test_float64_keeps_its_precision():
    inputs = scan_inputs(2, 257, 5, 8, dtype=torch.float64)
    computed = selective_scan(**inputs, delta_softplus=True)
    assert computed.dtype == torch.float64
    assert relative_error(computed, reference.selective_scan(**inputs, delta_softplus=True)) < 1e-12


def test_half_types_are_computed_in_float32():
    inputs = {name: tensor.bfloat16() for name, tensor in scan_inputs(2, 257, 5, 8).items()}
    computed = selective_scan(**inputs, delta_softplus=True)
    assert computed.dtype == torch.bfloat16
    assert relative_error(computed, reference.selective_scan(**inputs, delta_softplus=True)) < 2**-8


def test_autocast_leaves_it_in_float32():
    inputs = scan_inputs(2, 40, 8, 4)
    inputs["u"].requires_grad_()
    expected = run("torch", inputs, delta_softplus=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(run("torch", inputs, delta_softplus=True), expected)


def test_names_the_argument_whose_shape_does_not_fit():
    inputs = scan_inputs(2, 9, 5, 8)
    inputs["B"] = inputs["B"][:, :, :7]
    with pytest.raises(ValueError, match="B of shape"):
        selective_scan(**inputs)


# --- gradients -----------------------------------------------------------------------------------------------------


def output_gradient(inputs):
    return scan_inputs(*inputs["u"].shape, states=1, dtype=inputs["u"].dtype, seed=1)["u"]


def computed_gradients(backend, inputs, grad, reverse=False):
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    y = run(backend, leaves, delta_softplus=True, reverse=reverse)
    return dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), grad), strict=True))


def expected_gradients(inputs, grad, reverse=False):
    """Autograd through the float64 recurrence."""
    leaves = {name: tensor.double().requires_grad_() for name, tensor in inputs.items()}
    y = reference.selective_scan(**leaves, delta_softplus=True, reverse=reverse)
    return dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), grad.double()), strict=True))


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(
    ("length", "channels", "states"), [(1, 5, 8), (2, 5, 8), (7, 5, 1), (65, 130, 8), (257, 5, 16)]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_equal_autograd_through_the_recurrence(backend, length, channels, states, reverse):
    inputs = scan_inputs(2, length, channels, states)
    grad = output_gradient(inputs)
    expected = expected_gradients(inputs, grad, reverse)
    for name, value in computed_gradients(backend, inputs, grad, reverse).items():
        if name == "A" and length == 1:  # nothing has decayed yet
            assert not value.any()
        else:
            assert relative_error(value, expected[name]) < 1e-5, name


# Beyond one block of work of the chunked forms, in tokens and in channels.
@pytest.mark.parametrize(("length", "channels", "states"), [(4097, 65, 16), (32768, 9, 8)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_equal_the_adjoint_recurrence_on_long_sequences(backend, length, channels, states):
    inputs = scan_inputs(2, length, channels, states)
    grad = output_gradient(inputs)
    expected = reference.selective_scan_gradients(grad, **inputs)
    for name, value in computed_gradients(backend, inputs, grad).items():
        assert relative_error(value, expected[name]) < 1e-5, name


def test_the_hand_written_adjoint_equals_autograd():
    inputs = scan_inputs(2, 9, 3, 4, dtype=torch.float64)
    grad = output_gradient(inputs)
    computed = reference.selective_scan_gradients(grad, **inputs)
    for name, expected in expected_gradients(inputs, grad).items():
        torch.testing.assert_close(torch.as_tensor(computed[name]), expected)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_gradients_pass_finite_differences(reverse):
    inputs = scan_inputs(2, 5, 2, 3, dtype=torch.float64)

    def scan(*arguments):
        return selective_scan(*arguments, delta_softplus=True, reverse=reverse)

    assert torch.autograd.gradcheck(scan, [tensor.requires_grad_() for tensor in inputs.values()])


@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_of_one_argument_alone(backend, name):
    inputs = scan_inputs(1, 33, 5, 8)
    grad = output_gradient(inputs)
    leaf = inputs[name].clone().requires_grad_()
    y = run(backend, {**inputs, name: leaf}, delta_softplus=True)
    torch.testing.assert_close(torch.autograd.grad(y, leaf, grad)[0], computed_gradients(backend, inputs, grad)[name])


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_without_the_optional_arguments(backend):
    inputs = {name: tensor for name, tensor in scan_inputs(2, 33, 5, 8).items() if name not in ("D", "z", "delta_bias")}
    grad = output_gradient(inputs)
    expected = expected_gradients(inputs, grad)
    for name, value in computed_gradients(backend, inputs, grad).items():
        assert relative_error(value, expected[name]) < 1e-5, name


# --- choosing a backend --------------------------------------------------------------------------------------------


def test_plain_pytorch_is_always_available():
    assert available_backends()["torch"] is None


def test_auto_takes_the_fastest_backend_that_can_serve():
    fastest_on_cpu = "numba" if available_backends()["numba"] is None else "torch"
    assert resolve_backend("auto", device="cpu") == fastest_on_cpu
    assert resolve_backend("auto", device="cpu", dtype=torch.float64) == "torch"
    assert resolve_backend("auto", device="mps") == "torch"


def test_an_explicit_choice_is_kept_or_refused_with_the_reason():
    assert resolve_backend("torch") == "torch"
    with pytest.raises(BackendError, match=r"numba.*float32 only"):
        resolve_backend("numba", dtype=torch.float64)
    with pytest.raises(BackendError, match=r"numba.*CPU only"):
        resolve_backend("numba", device="cuda")
    with pytest.raises(BackendError, match=r"mamba-ssm.*GPU"):
        resolve_backend("mamba-ssm", device="cpu")


def test_an_unknown_backend_is_answered_with_the_choices():
    with pytest.raises(BackendError, match=r"'cudnn'.*auto.*numba.*torch"):
        selective_scan(**scan_inputs(1, 3, 5, 8), backend="cudnn")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present")
def test_the_reason_why_a_backend_is_unavailable_is_told():
    assert "GPU" in available_backends()["mamba-ssm"]


@pytest.mark.parametrize(("batch", "channels"), [(1, 40), (1, 130), (3, 64)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_on_several_threads(backend, batch, channels):
    inputs = scan_inputs(batch, 50, channels, 8)
    torch.set_num_threads(3)
    computed = run(backend, inputs, delta_softplus=True)
    assert relative_error(computed, reference.selective_scan(**inputs, delta_softplus=True)) < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_threads_may_scan_at_once(backend):
    cases = [scan_inputs(1, 200, 64, 16, seed=seed) for seed in (1, 2)]
    assert_two_threads_compute_what_one_does(lambda case: run(backend, case, delta_softplus=True), cases)
