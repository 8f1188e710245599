"""Seconds of one patch: SEG-CSS, folded, in eager PyTorch, against nnU-Net's network compiled by OpenVINO, in float32.

    python Testing/Benchmarks/openvino_peer.py --size 128 --repeats 5

In a process without other networks, because OpenVINO brings threads of its own; times are taken in turn. What OpenVINO
computes is compared with the eager network. Needs the extra ``benchmark``; prints a Markdown table.
"""

import argparse
import sys
from importlib.util import find_spec

import torch
from forms import FOLDED_NUMBA, FOLDED_TORCH, available_forms, random_volume
from measure import Contestant, format_seconds, largest_difference, take_times
from part import Check, Goal, Part, main, make_parser
from peer_networks import PLAIN_CONV_UNET

OPENVINO = f"{PLAIN_CONV_UNET.name}, OpenVINO float32"
FASTER = 1.8
TOLERANCE = 1e-3  # of the largest output; float16 or bfloat16 would differ by more
_HEADER = ["network", "seconds", "fastest to slowest", "times NNMamba's best"]


def compile_network(network: torch.nn.Module, x: torch.Tensor, threads: int):
    """Return a function from a tensor to the network's output, compiled for float32 and least latency."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.convert_model(network, example_input=x, input=list(x.shape))
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return lambda x: torch.from_numpy(compiled(x.numpy())[0])


@torch.no_grad()
def measure(options: argparse.Namespace) -> Part:
    title, method = (
        "nnU-Net's network in OpenVINO",
        f"One patch of {options.size}^3 voxels, one channel, {options.labels} classes, float32 in both; NNMamba is "
        f"eager PyTorch as elsewhere. Median of {options.repeats}, in turn in one process.",
    )
    forms, notes = available_forms((FOLDED_TORCH, FOLDED_NUMBA))
    missing = PLAIN_CONV_UNET.missing
    if find_spec("openvino") is None:
        missing = "openvino is not installed (extra benchmark)"
    if missing is not None:
        return Part("openvino", title, method, _HEADER, [], notes=[f"{OPENVINO}: not run, {missing}"])
    x = random_volume((options.size,) * 3)
    contestants = {}
    for form in forms:
        network = form.build("SEG-CSS", 1, options.labels)
        contestants[form.name] = Contestant(lambda network=network: network(x), context=form.context)
    unet = PLAIN_CONV_UNET.build(options.labels).eval()
    compiled = compile_network(unet, x, options.threads)
    contestants[OPENVINO] = Contestant(lambda: compiled(x))
    times, outputs = take_times(contestants, options.repeats)
    difference = largest_difference(outputs[OPENVINO], unet(x))
    best = min((times[form.name] for form in forms), key=lambda t: t.median)
    rows = [
        [name, format_seconds(taken.median), taken.spread, f"{taken.median / best.median:.1f}"]
        for name, taken in times.items()
    ]
    ratio = times[OPENVINO].median / best.median
    return Part(
        "openvino",
        title,
        method,
        _HEADER,
        rows,
        [Goal(f"{forms[-1].name}, against {OPENVINO}", ratio, FASTER, "times")],
        [Check(f"OpenVINO's output is the eager network's to {TOLERANCE:.0e}", difference < TOLERANCE)],
        notes,
        {name: taken.as_dict() for name, taken in times.items()},
    )


if __name__ == "__main__":
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--size", type=int, default=128, help="voxels along each axis, a multiple of 32 (128)")
    parser.add_argument("--labels", type=int, default=14, help="with background (14)")
    sys.exit(main(parser.parse_args(), measure, ("dynamic-network-architectures", "openvino")))
