"""Seconds and memory of the selective scan alone: this project's against a loop over the tokens and mambapy's.

    python Testing/Benchmarks/scan.py --length 32768 --channels 256 --repeats 3

All compute the same recurrence with skip weight, without gate, from the same float32 tensors, and the outputs are
compared. Times are taken in turn in one process; memory is the peak above the inputs, the output included, each in a
process of its own. mambapy needs the extra ``benchmark``. Prints a Markdown table.
"""

import argparse
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec

import torch
from measure import (
    MIB,
    Contestant,
    extra_memory,
    in_fresh_process,
    largest_difference,
    take_times,
)
from part import Check, Goal, Part, main, make_parser
from plain_eager import sequential_scan

from NNMambaLib.networks.scan.selective_scan import available_backends, selective_scan

LOOP, MAMBAPY = "loop over the tokens", "mambapy, parallel scan"
TORCH, NUMBA = "NNMamba, two passes in PyTorch", "NNMamba, kernel in numba"
TOLERANCE = 1e-4  # of the largest output, in float32
FASTER = ((NUMBA, LOOP, 70), (NUMBA, MAMBAPY, 45), (TORCH, LOOP, 8))


class Inputs:
    """Random inputs like those in a network: u, delta (batch, L, E); A (E, N); B, C (batch, L, N); D (E,)."""

    def __init__(self, batch: int, length: int, channels: int, states: int):
        generator = torch.Generator().manual_seed(1)

        def noise(*shape):
            return torch.randn(*shape, generator=generator)

        self.u = noise(batch, length, channels)
        self.delta = torch.nn.functional.softplus(noise(batch, length, channels) - 3)
        self.A = -torch.arange(1.0, states + 1).repeat(channels, 1)
        self.B, self.C = noise(batch, length, states), noise(batch, length, states)
        self.D = noise(channels)

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.u, self.delta, self.A, self.B, self.C, self.D


def prepare(name: str, inputs: Inputs) -> Callable[[], torch.Tensor]:
    """Return the named scan of inputs that are laid out beforehand as it needs them; its output is (batch, L, E)."""
    tensors = inputs.tensors()
    if name == LOOP:
        u, delta, B, C = (t.mT.contiguous() for t in (inputs.u, inputs.delta, inputs.B, inputs.C))
        return lambda: sequential_scan(u, delta, inputs.A, B, C, inputs.D).mT
    if name == MAMBAPY:
        from mambapy.mamba import MambaBlock

        # The method takes all it needs as arguments: no block, whose projections would be timed too.
        return lambda: MambaBlock.selective_scan(None, *tensors)
    backend = "torch" if name == TORCH else "numba"
    return lambda: selective_scan(*tensors, backend=backend)


def scans() -> tuple[list[str], list[str]]:
    """Return what can be run here, and a note for each of the others."""
    reasons = {
        LOOP: None,
        MAMBAPY: None if find_spec("mambapy") else "mambapy is not installed (extra benchmark)",
        TORCH: None,
        NUMBA: available_backends()["numba"],
    }
    missing = [f"{name}: not run, {reason}" for name, reason in reasons.items() if reason is not None]
    return [name for name, reason in reasons.items() if reason is None], missing


@torch.inference_mode()
def measure_memory(name: str, options: argparse.Namespace) -> dict:
    """Return the extra bytes of one scan; for a fresh process."""
    prepare(name, Inputs(1, 64, options.channels, options.states))()  # compiles kernels and starts thread pools
    return {"bytes": extra_memory(prepare(name, Inputs(1, options.length, options.channels, options.states)))}


@torch.inference_mode()
def measure(options: argparse.Namespace) -> Part:
    names, notes = scans()
    sizes = [f"--{key}={getattr(options, key)}" for key in ("length", "channels", "states", "threads")]
    extra = {name: in_fresh_process(__file__, "--memory-of", name, *sizes)["bytes"] / MIB for name in names}
    inputs = Inputs(1, options.length, options.channels, options.states)
    small = Inputs(1, 64, options.channels, options.states)
    contestants = {
        name: Contestant(prepare(name, inputs), prepare(name, small) if name == LOOP else None) for name in names
    }
    times, outputs = take_times(contestants, options.repeats)
    differences = {name: largest_difference(outputs[name], outputs[LOOP]) for name in names[1:]}
    states_mib = 4 * options.length * options.channels * options.states / MIB
    rows = [
        [
            name,
            f"{1000 * times[name].median:.1f}",
            f"{1000 * min(times[name].seconds):.1f} to {1000 * max(times[name].seconds):.1f}",
            f"{times[LOOP].median / times[name].median:.1f}",
            f"{extra[name]:.0f}",
            f"{differences[name]:.1e}" if name in differences else "",
        ]
        for name in names
    ]
    goals = [
        Goal(f"{ours}, against {other}", times[other].median / times[ours].median, limit, "times")
        for ours, other, limit in FASTER
        if ours in names and other in names
    ]
    goals += [
        Goal(f"{name}: extra memory, below one array of L x E x N", extra[name], states_mib, "MiB", at_most=True)
        for name in (TORCH, NUMBA)
        if name in names
    ]
    notes.append(
        f"An array of L x E x N elements would take {states_mib:.0f} MiB, the output alone "
        f"{4 * options.length * options.channels / MIB:.0f} MiB."
    )
    return Part(
        "scan",
        "The selective scan alone",
        f"L = {options.length}, E = {options.channels}, N = {options.states}, batch 1, float32; median of "
        f"{options.repeats}, in turn in one process; memory above the inputs, the output included, in a process of "
        "its own.",
        ["scan", "milliseconds", "fastest to slowest", "times faster", "extra memory MiB", "difference from the loop"],
        rows,
        goals,
        [Check(f"Outputs agree to {TOLERANCE:.0e} of the largest", max(differences.values()) < TOLERANCE)],
        notes,
        {name: times[name].as_dict() | {"extra_mib": extra[name]} for name in names},
    )


if __name__ == "__main__":
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--length", type=int, default=32768, help="tokens, L (32768)")
    parser.add_argument("--channels", type=int, default=256, help="E (256)")
    parser.add_argument("--states", type=int, default=16, help="N (16)")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_of is not None:
        torch.set_num_threads(given.threads)
        print(json.dumps(measure_memory(given.memory_of, given)))
    else:
        sys.exit(main(given, measure, ("mambapy",)))
