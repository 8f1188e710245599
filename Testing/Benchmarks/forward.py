"""Seconds and memory of one forward pass of SEG-CSS: this project's forms against a plain eager network.

    python Testing/Benchmarks/forward.py --size 128 --repeats 3

The plain network (``plain_eager.py``) has the same weights, and the outputs are compared. Times are taken in turn in
one process; folded forms run as in the engine, which keeps freed memory from tile to tile. Memory is the peak above
the weights and the input, each in a process of its own. Prints a Markdown table.
"""

import argparse
import json
import sys
from contextlib import nullcontext

import torch
from forms import FOLDED_BFLOAT16, FOLDED_NUMBA, FOLDED_TORCH, FORMS, PLAIN, Form, available_forms, random_volume
from measure import (
    MIB,
    Contestant,
    extra_memory,
    format_seconds,
    in_fresh_process,
    largest_difference,
    take_times,
)
from part import Check, Goal, Part, main, make_parser

TOLERANCE = 1e-4  # of the largest output, in float32
MEASURED = (*FORMS, FOLDED_BFLOAT16)
FASTER = {FOLDED_TORCH: 7, FOLDED_NUMBA: 14}
MEMORY = 550
_SMALL = (32, 32, 32)
# Where freed memory is kept, later passes may need more of it than the first.
_KEPT_PASSES = 3


@torch.inference_mode()
def measure_memory(form: Form, options: argparse.Namespace) -> dict:
    """Return the extra bytes of one forward pass, or of several where freed memory is kept; in a fresh process."""
    network, x = form.build("SEG-CSS", 1, options.labels), random_volume((options.size,) * 3)
    network(random_volume(_SMALL))  # compiles kernels and starts thread pools

    def run():
        for _ in range(_KEPT_PASSES if options.kept else 1):
            network(x)

    with form.context() if options.kept else nullcontext():
        return {"bytes": extra_memory(run)}


def contestant(form: Form, options: argparse.Namespace, x: torch.Tensor) -> Contestant:
    network = form.build("SEG-CSS", 1, options.labels)
    # The plain loop needs no warming up at full size, which takes long.
    small = random_volume(_SMALL)
    return Contestant(lambda: network(x), (lambda: network(small)) if form is PLAIN else None, form.context)


@torch.inference_mode()
def measure(options: argparse.Namespace) -> Part:
    forms, notes = available_forms(MEASURED)
    settings = ("--size", options.size, "--labels", options.labels, "--threads", options.threads)
    extra, kept = {}, {}
    for form in forms:
        place = ("--memory-of", MEASURED.index(form), *settings)
        extra[form] = in_fresh_process(__file__, *place)["bytes"] / MIB
        if form.context is not None:
            kept[form] = in_fresh_process(__file__, *place, "--kept")["bytes"] / MIB
    x = random_volume((options.size,) * 3)
    times, outputs = take_times({form.name: contestant(form, options, x) for form in forms}, options.repeats)
    ratios = {form: times[PLAIN.name].median / times[form.name].median for form in forms}
    differences = {form: largest_difference(outputs[form.name], outputs[PLAIN.name]) for form in forms[1:]}
    rows = [
        [
            form.name,
            format_seconds(times[form.name].median),
            times[form.name].spread,
            f"{ratios[form]:.1f}",
            f"{extra[form]:.0f}",
            f"{kept[form]:.0f}" if form in kept else "",
            f"{differences[form]:.1e}" if form in differences else "",
        ]
        for form in forms
    ]
    exact = max(value for form, value in differences.items() if not form.bfloat16)
    goals = []
    for form in (form for form in forms if form in FASTER):
        goals.append(Goal(f"{form.name}, against {PLAIN.name}", ratios[form], FASTER[form], "times"))
        goals.append(Goal(f"{form.name}: extra memory of a patch, as timed", kept[form], MEMORY, "MiB", at_most=True))
    return Part(
        "forward",
        "One forward pass",
        f"SEG-CSS(1, {options.labels}), float32, one patch of {options.size}^3 voxels, the same weights in every form; "
        f"median of {options.repeats}, in turn in one process. Folded forms run as in the engine, which keeps freed "
        "memory from patch to patch. Memory: the peak above weights and input, each in a process of its own: of one "
        f"pass, and of {_KEPT_PASSES} as in the engine.",
        [
            "form",
            "seconds",
            "fastest to slowest",
            "times faster",
            "extra memory MiB",
            "where it is kept",
            "difference from plain",
        ],
        rows,
        goals,
        [Check(f"Outputs in float32 agree to {TOLERANCE:.0e} of the largest", exact < TOLERANCE)],
        notes,
        {
            form.name: times[form.name].as_dict() | {"extra_mib": extra[form], "kept_mib": kept.get(form)}
            for form in forms
        },
    )


if __name__ == "__main__":
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--size", type=int, default=128, help="voxels along each axis, a multiple of 16 (128)")
    parser.add_argument("--labels", type=int, default=14, help="with background (14)")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_of is not None:
        torch.set_num_threads(given.threads)
        print(json.dumps(measure_memory(MEASURED[given.memory_of], given)))
    else:
        sys.exit(main(given, measure))
