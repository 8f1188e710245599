"""Run the CUDA kernels in numba's simulator and print how far they are from the definitions in float64, as JSON.

    NUMBA_ENABLE_CUDASIM=1 python cuda_simulator.py

The variable must be set before numba is imported, so this is a program of its own. Differences are parts of the largest
value. Sizes are small, for every thread of a GPU is one of Python's here; a block then has four channels and loads four
tokens at a time, so that these sizes cross the borders of blocks, tiles and chunks.
"""

import dataclasses
import json
import sys
from pathlib import Path

import torch
from torch.nn import functional

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3] / "NNMamba")]

from helpers import selective_scan_reference as reference
from NNMambaLib.networks.scan import cuda_scans
from NNMambaLib.networks.scan.scan_parameters import ScanParameters

HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def difference(computed, expected):
    return ((computed.double() - expected).abs().max() / expected.abs().max()).item()


# --- the selective scan --------------------------------------------------------------------------------------------


def scan_inputs(batch, length, channels, states, dtype=torch.float32):
    """Random arguments by name; decay rates from 0.02 to 20, so that some states remember far across chunks."""
    return {
        "u": normal(batch, length, channels, seed=1, dtype=dtype),
        "delta": normal(batch, length, channels, seed=2, dtype=dtype),
        "A": -torch.exp(7 * torch.sigmoid(normal(channels, states, seed=3)) - 4),
        "B": normal(batch, length, states, seed=4, dtype=dtype),
        "C": normal(batch, length, states, seed=5, dtype=dtype),
        "D": normal(channels, seed=6),
        "z": normal(batch, length, channels, seed=7, dtype=dtype),
        "delta_bias": normal(channels, seed=8) - 1,
    }


def scan(inputs, softplus=True, reverse=False, chunk=None, dtype=None):
    """Return the scan by the kernels, and as the definition reads."""
    arguments = [inputs.get(name) for name in ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")]
    before = {name: value.clone() for name, value in inputs.items()}
    y = cuda_scans.scan(*arguments, softplus, reverse, chunk, dtype)
    torch.testing.assert_close(inputs, before, rtol=0, atol=0, equal_nan=True)  # they are left as they were
    return y, reference.selective_scan(**inputs, delta_softplus=softplus, reverse=reverse)


def scan_cases():
    for reverse in (False, True):
        way = "reverse" if reverse else "forward"
        # Two chunks, the second one token long; five channels, one more than a block has.
        yield f"scan {way}, 7 tokens in chunks of 6", scan(scan_inputs(2, 7, 5, 3), reverse=reverse, chunk=6)
        for name, dtype in HALF.items():
            inputs = scan_inputs(1, 5, 3, 2, dtype)
            yield f"scan {way} of {name}", scan(inputs, reverse=reverse, chunk=2, dtype=torch.float32)
    yield "scan of one token", scan(scan_inputs(1, 1, 1, 1))
    yield "scan in chunks of just three", scan(scan_inputs(1, 9, 2, 8), chunk=3)
    yield "scan of more states than a launch takes", scan(scan_inputs(1, 5, 2, 19), chunk=2)
    for left_out in ("D", "z", "delta_bias"):
        inputs = scan_inputs(1, 5, 2, 2)
        del inputs[left_out]
        yield f"scan without {left_out}", scan(inputs, chunk=2)
    inputs = scan_inputs(1, 6, 2, 2)
    inputs["delta"], inputs["delta_bias"] = inputs["delta"].abs(), inputs["delta_bias"].abs()
    yield "scan without softplus", scan(inputs, softplus=False, chunk=4)
    inputs = scan_inputs(1, 6, 2, 2)
    inputs["A"] = inputs["A"].abs() / 10
    yield "scan of growing states", scan(inputs, chunk=4)
    inputs = scan_inputs(1, 4, 2, 2)
    inputs["delta"] *= 60  # beyond the softplus's threshold, and far below zero
    yield "scan of extreme steps", scan(inputs, chunk=3)
    strided = {name: t.mT.contiguous().mT if t.ndim == 3 else t for name, t in scan_inputs(1, 5, 3, 2).items()}
    yield "scan of strided arguments", scan(strided, chunk=4)


# --- gated scans ---------------------------------------------------------------------------------------------------


def parameters(channels, states, rank, taps):
    return ScanParameters(
        conv_weight=normal(channels, taps, seed=1),
        conv_bias=normal(channels, seed=2),
        x_proj=normal(rank + 2 * states, channels, seed=3) * channels**-0.5,
        dt_weight=normal(channels, rank, seed=4) * rank**-0.5,
        dt_bias=normal(channels, seed=5) - 1,
        A=-torch.exp(7 * torch.sigmoid(normal(channels, states, seed=6)) - 4),
        D=normal(channels, seed=7),
    )


def gated(length, channels, states, rank, *, taps=4, batch=1, groups=1, directions=2, chunk=None, dtype=torch.float32):
    """Return gated scans by the kernels, and one group and one direction after another in float64."""
    given = parameters(channels, states, rank, taps)
    mixed = normal(batch, length, groups * 2 * channels, dtype=dtype)
    computed = cuda_scans.gated_scans(mixed, given, directions, chunk, torch.float32)
    double = ScanParameters(*(getattr(given, field.name).double() for field in dataclasses.fields(given)))
    outputs = []
    for group in mixed.double().split(2 * channels, dim=2):
        x, z = group.chunk(2, dim=2)
        y = one_direction(x, double)
        if directions == 2:
            y = y + one_direction(x.flip(1), double).flip(1)
        outputs.append(y * functional.silu(z))
    return computed, torch.cat(outputs, dim=2)


def one_direction(x, given):
    taps, states, rank = given.conv_weight.shape[1], given.A.shape[1], given.dt_weight.shape[1]
    x = functional.pad(x, (0, 0, taps - 1, 0)).unfold(1, taps, 1)  # (batch, L, E, taps)
    x = functional.silu((x * given.conv_weight).sum(-1) + given.conv_bias)
    step, B, C = (x @ given.x_proj.T).split([rank, states, states], dim=2)
    return reference.selective_scan(
        x, step @ given.dt_weight.T, given.A, B, C, given.D, delta_bias=given.dt_bias, delta_softplus=True
    )


def gated_cases():
    yield "gated scan of one token", gated(1, 3, 2, 1)
    yield "gated scans of two groups of two items", gated(7, 5, 3, 2, batch=2, groups=2, chunk=3)
    yield "gated scans in one direction", gated(6, 3, 2, 5, groups=2, directions=1, chunk=3)
    yield "gated scan with two taps", gated(5, 2, 2, 1, taps=2, chunk=5)
    yield "gated scan with more states than eight", gated(5, 2, 11, 1, chunk=4)
    yield "gated scan with a rank that is not fused", gated(5, 2, 2, 17, chunk=4)
    for name, dtype in HALF.items():
        yield f"gated scans of {name}", gated(6, 3, 2, 3, groups=2, chunk=4, dtype=dtype)


# --- the types of results, and what is not a number ------------------------------------------------------------------


def other_facts():
    """Return {what: whether it holds}."""
    facts = {}
    for name, dtype in HALF.items():
        inputs = scan_inputs(1, 5, 3, 2, dtype)
        exact, _ = scan(inputs, chunk=2, dtype=torch.float32)
        facts[f"{name} is rounded once, to the nearest"] = torch.equal(scan(inputs, chunk=2)[0], exact.to(dtype))
    inputs = scan_inputs(1, 6, 3, 2)
    inputs["u"][0, 3, 1] = float("nan")
    y, _ = scan(inputs, chunk=2)
    facts["what is not a number is not hidden"] = bool(y[0, 3:, 1].isnan().all())
    facts["and stays in its channel and behind its token"] = int(y.isnan().sum()) == 3
    inputs = scan_inputs(1, 5, 3, 2, torch.bfloat16)
    inputs["u"][0, 3, 1] = float("nan")
    facts["bfloat16 keeps what is not a number"] = bool(scan(inputs)[0][0, 3:, 1].isnan().all())
    return facts


def main():
    # The simulator's threads wait for each other far more than they work.
    sys.setswitchinterval(1e-4)
    torch.set_num_threads(1)
    cases = [*scan_cases(), *gated_cases()]
    print(json.dumps({"differences": {name: difference(*pair) for name, pair in cases}, "facts": other_facts()}))


if __name__ == "__main__":
    main()
