"""Seconds of one volume through the classifier CLS: this project's forms against a plain eager network.

    python Testing/Benchmarks/classifier.py --size 112 136 112 --repeats 2

The plain network (``plain_eager.py``) has the same weights, and the logits are compared. Its scan at the stem is a loop
over every token, 213248 at the default size. Times are taken in turn in one process. Prints a Markdown table.
"""

import argparse
import sys

import torch
from forms import FOLDED_NUMBA, PLAIN, available_forms, random_volume
from measure import Contestant, format_seconds, largest_difference, take_times
from part import Check, Goal, Part, main, make_parser

TOLERANCE = 1e-4  # of the largest logit, in float32
FASTER = 8
_SMALL = (32, 32, 32)


@torch.inference_mode()
def measure(options: argparse.Namespace) -> Part:
    forms, notes = available_forms()
    x, small = random_volume(tuple(options.size)), random_volume(_SMALL)
    contestants = {}
    for form in forms:
        network = form.build("CLS", 1, 2)
        warm_up = (lambda network=network: network(small)) if form is PLAIN else None
        contestants[form.name] = Contestant(lambda network=network: network(x), warm_up, form.context)
    times, outputs = take_times(contestants, options.repeats)
    ratios = {form: times[PLAIN.name].median / times[form.name].median for form in forms}
    differences = {form: largest_difference(outputs[form.name], outputs[PLAIN.name]) for form in forms[1:]}
    rows = [
        [
            form.name,
            format_seconds(times[form.name].median),
            times[form.name].spread,
            f"{ratios[form]:.1f}",
            f"{differences[form]:.1e}" if form in differences else "",
        ]
        for form in forms
    ]
    goals = [
        Goal(f"CLS: {form.name}, against {PLAIN.name}", ratios[form], FASTER, "times")
        for form in forms
        if form is FOLDED_NUMBA
    ]
    size = " x ".join(map(str, options.size))
    return Part(
        "classifier",
        "The classifier",
        f"CLS(1, 2), float32, one volume of {size} voxels, the same weights in every form; median of "
        f"{options.repeats}, in turn in one process.",
        ["form", "seconds", "fastest to slowest", "times faster", "difference from plain"],
        rows,
        goals,
        [Check(f"Logits agree to {TOLERANCE:.0e} of the largest", max(differences.values()) < TOLERANCE)],
        notes,
        {form.name: times[form.name].as_dict() for form in forms},
    )


if __name__ == "__main__":
    parser = make_parser(__doc__, repeats=2)
    parser.add_argument(
        "--size", type=int, nargs=3, default=(112, 136, 112), metavar=("Z", "Y", "X"), help="voxels (112 136 112)"
    )
    sys.exit(main(parser.parse_args(), measure))
