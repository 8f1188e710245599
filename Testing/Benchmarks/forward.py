"""Seconds and memory of one forward pass of SEG-CSS (1 channel, 16 labels): this project against a plain eager network.

    python Testing/Benchmarks/forward.py --size 128 --repeats 3

The plain network (``plain_eager.py``) has the same weights, and the outputs are compared. Times are taken in turn in
one process; memory is the peak above the weights and the input, each in a process of its own. Prints a Markdown table.
"""

import argparse
import json
import statistics
import sys
import time

import torch
from measure import in_fresh_process, load, machine, peak_resident_bytes, resident_bytes
from plain_eager import PlainSegCss

from NNMambaLib.networks.selective_scan import available_backends
from NNMambaLib.networks.variants import set_scan_backend
from perturbed_networks import perturbed_network

CHANNELS, LABELS = 1, 16
PLAIN = "plain eager, sequential scan"
TOLERANCE = 1e-4  # of the largest output, in float32


def form_names() -> list[str]:
    """Return what can be measured on this machine's CPU, the baseline first."""
    backends = available_backends()
    return [PLAIN, *(f"NNMamba, {name} scan" for name in ("torch", "numba") if backends[name] is None)]


def build(form: str) -> torch.nn.Module:
    """Return the network of a form; all forms have the same weights."""
    network = perturbed_network("SEG-CSS", CHANNELS, LABELS)
    if form == PLAIN:
        plain = PlainSegCss(CHANNELS, LABELS)
        plain.load_state_dict(network.state_dict())
        return plain.eval()
    set_scan_backend(network, form.removeprefix("NNMamba, ").removesuffix(" scan"))
    return network


def random_volume(size: int) -> torch.Tensor:
    return torch.randn(1, CHANNELS, size, size, size, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def measure_memory(form: str, size: int) -> dict:
    """Return the extra bytes of one forward pass; to be called in a fresh process."""
    network, x = build(form), random_volume(size)
    network(random_volume(32))  # compiles kernels and starts thread pools
    before = resident_bytes()
    network(x)
    return {"bytes": peak_resident_bytes() - before}


@torch.inference_mode()
def measure_seconds(forms: list[str], size: int, repeats: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of each repeat, and the largest difference from the baseline over its largest output."""
    networks = {form: build(form) for form in forms}
    x = random_volume(size)
    for form, network in networks.items():
        network(random_volume(32) if form == PLAIN else x)
    seconds = {form: [] for form in forms}
    outputs = {}
    for _ in range(repeats):
        for form, network in networks.items():
            outputs.pop(form, None)
            began = time.perf_counter()
            outputs[form] = network(x)
            seconds[form].append(time.perf_counter() - began)
    expected = outputs[PLAIN]
    differences = {form: ((y - expected).abs().max() / expected.abs().max()).item() for form, y in outputs.items()}
    return seconds, differences


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="voxels along each axis, a multiple of 16 (128)")
    parser.add_argument("--repeats", type=int, default=3, help="timed passes of each form (3)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch and of the scan")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(json.dumps(measure_memory(options.memory_of, options.size)))
        return 0

    before = load()
    forms = form_names()
    size_and_threads = ("--size", options.size, "--threads", options.threads)
    extra = {form: in_fresh_process(__file__, "--memory-of", form, *size_and_threads)["bytes"] for form in forms}
    seconds, differences = measure_seconds(forms, options.size, options.repeats)

    baseline = statistics.median(seconds[PLAIN])
    print(f"SEG-CSS({CHANNELS}, {LABELS}), float32, one {options.size}^3 volume, median of {options.repeats} in turn,")
    print(f"{options.threads} threads; {before}. {machine()}.\n")
    print("| form | seconds | fastest to slowest | times faster | extra memory MiB | difference from plain |")
    print("|---|---|---|---|---|---|")
    for form in forms:
        median = statistics.median(seconds[form])
        spread = f"{min(seconds[form]):.2f} to {max(seconds[form]):.2f}"
        print(
            f"| {form} | {median:.2f} | {spread} | {baseline / median:.1f} | {extra[form] / 2**20:.0f} "
            f"| {differences[form]:.1e} |"
        )
    agreed = max(differences.values()) < TOLERANCE
    print(f"\nThe outputs {'agree' if agreed else 'DO NOT AGREE'} (limit {TOLERANCE:.0e} of the largest output).")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
