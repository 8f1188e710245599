"""Seconds and memory of one training step of SEG-CSS: the scan's own gradients against a scan left to autograd.

    python Testing/Benchmarks/training_step.py --size 64 --repeats 3

A step is forward, loss (Dice and cross-entropy, deep supervision), backward and AdamW. Only the scan differs: numba's
kernels, PyTorch's two passes, both of which recompute the states when they go back, and a plain loop over the tokens,
through which autograd stores every state (batch x L x E x N). All have the same weights, and the gradients of the
first step are compared. Times are taken in turn in one process; memory is the peak above weights, optimizer and batch,
each in a process of its own. Prints a Markdown table. Needs the extra ``train``.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from measure import in_fresh_process, load, machine, peak_resident_bytes, resident_bytes
from plain_eager import sequential_scan

from NNMambaLib.networks import mamba
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.mamba import set_scan_backend
from NNMambaLib.networks.scan.selective_scan import available_backends, selective_scan
from NNMambaLib.training.loop.optimization import make_optimizer
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.training.objectives.segmentation import SegmentationObjective

PLAIN = "autograd through a loop"
FORMS = {"two passes in PyTorch": "torch", "kernels in numba": "numba"}
TOLERANCE = 1e-3  # of the largest gradient, in float32


def form_names() -> list[str]:
    """Return what can be measured on this machine's CPU, the baseline first."""
    backends = available_backends()
    return [PLAIN, *(form for form, backend in FORMS.items() if backends[backend] is None)]


def plain_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, backend):
    """Return the same as `selective_scan` with all arguments given, in operations that autograd knows."""
    delta = F.softplus(delta + delta_bias)
    y = sequential_scan(u.mT, delta.mT, A, B.mT, C.mT, D)
    return y.mT * F.silu(z)


class Step:
    """A network with its optimizer, and a batch for it."""

    def __init__(self, form: str, options: argparse.Namespace):
        self._form = form
        self._objective = SegmentationObjective(NetworkDescription("SEG-CSS", 1, options.labels, options.width))
        torch.manual_seed(0)
        self.network = self._objective.build_network().to(memory_format=torch.channels_last_3d)
        set_scan_backend(self.network, FORMS.get(form, "auto"))
        self._optimizer = make_optimizer(self.network.parameters(), TrainingSettings())
        self._batch, self._labels = options.batch, options.labels

    def backward(self, size: int) -> None:
        """Compute the gradients for a random batch."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(self._batch, 1, size, size, size, generator=generator)
        target = torch.randint(0, self._labels, (self._batch, size, size, size), generator=generator)
        self._optimizer.zero_grad(set_to_none=True)
        mamba.selective_scan = plain_scan if self._form == PLAIN else selective_scan
        self._objective.loss(self.network(x.to(memory_format=torch.channels_last_3d)), target).backward()

    def run(self, size: int) -> None:
        self.backward(size)
        self._optimizer.step()

    def gradients(self) -> torch.Tensor:
        return torch.cat([parameter.grad.flatten() for parameter in self.network.parameters()])


def measure_memory(form: str, options: argparse.Namespace) -> dict:
    """Return the extra bytes of one step; for a fresh process."""
    step = Step(form, options)
    step.run(min(32, options.size))  # compiles kernels, starts thread pools and fills the optimizer
    before = resident_bytes()
    step.run(options.size)
    return {"bytes": peak_resident_bytes() - before}


def measure_seconds(forms: list[str], options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of each repeat, and the largest difference of a gradient over the baseline's largest one."""
    steps = {form: Step(form, options) for form in forms}
    gradients = {}
    for form, step in steps.items():
        step.backward(options.size)
        gradients[form] = step.gradients()
    seconds = {form: [] for form in forms}
    for _ in range(options.repeats):
        for form, step in steps.items():
            began = time.perf_counter()
            step.run(options.size)
            seconds[form].append(time.perf_counter() - began)
    expected = gradients[PLAIN]
    return seconds, {form: ((g - expected).abs().max() / expected.abs().max()).item() for form, g in gradients.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="voxels along each axis, a multiple of 16 (64)")
    parser.add_argument("--batch", type=int, default=2, help="volumes of a step (2)")
    parser.add_argument("--width", type=int, default=32, help="channels after the stem (32)")
    parser.add_argument("--labels", type=int, default=16, help="with background (16)")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each form (3)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch and of the scan")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(json.dumps(measure_memory(options.memory_of, options)))
        return 0

    before = load()
    forms = form_names()
    sizes = [f"--{name}={getattr(options, name)}" for name in ("size", "batch", "width", "labels", "threads")]
    extra = {form: in_fresh_process(__file__, "--memory-of", form, *sizes)["bytes"] for form in forms}
    seconds, differences = measure_seconds(forms, options)

    medians = {form: statistics.median(times) for form, times in seconds.items()}
    print(f"One training step of SEG-CSS(1, {options.labels}), width {options.width}, {options.batch} volumes of")
    print(f"{options.size}^3, float32, median of {options.repeats} in turn, {options.threads} threads; {before}.")
    print(f"{machine()}.\n")
    print(
        "| scan | seconds | fastest to slowest | times faster | extra memory MiB | times less | gradients differ by |"
    )
    print("|---|---|---|---|---|---|---|")
    for form in forms:
        spread = f"{min(seconds[form]):.2f} to {max(seconds[form]):.2f}"
        print(
            f"| {form} | {medians[form]:.2f} | {spread} | {medians[PLAIN] / medians[form]:.1f} "
            f"| {extra[form] / 2**20:.0f} | {extra[PLAIN] / max(1, extra[form]):.1f} | {differences[form]:.1e} |"
        )
    agreed = max(differences.values()) < TOLERANCE
    print(f"\nThe gradients {'agree' if agreed else 'DO NOT AGREE'} (limit {TOLERANCE:.0e} of the largest).")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
