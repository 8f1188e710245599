"""Seconds of one patch: SEG-CSS, folded, against networks by other authors, all eager PyTorch in float32.

    python Testing/Benchmarks/peers.py --size 128 --repeats 3

The same patch and as many classes for all; weights are random, which changes no time. Times are taken in turn in one
process. The other networks run as their packages make them. Needs the extra ``benchmark``; prints a Markdown table.
"""

import argparse
import copy
import sys

import torch
from forms import FOLDED_NUMBA, FOLDED_TORCH, PLAIN, available_forms, random_volume
from measure import Contestant, format_seconds, take_times
from part import Goal, Part, main, make_parser
from peer_networks import PLAIN_CONV_UNET, SEG_RESNET, SWIN_UNETR, U_MAMBA, multiplications, parameters

FASTER = {PLAIN_CONV_UNET: 4.5, SEG_RESNET: 3.8, U_MAMBA: 6.5}
PACKAGES = ("dynamic-network-architectures", "monai")


def own_size(options: argparse.Namespace) -> tuple[int, int]:
    """Return parameters and multiply-adds of SEG-CSS, counted on a small patch of the plain network: all scale."""
    plain, edge = PLAIN.build("SEG-CSS", 1, options.labels), 32
    return parameters(plain), multiplications(plain, random_volume((edge,) * 3)) * options.size**3 // edge**3


@torch.inference_mode()
def measure(options: argparse.Namespace) -> Part:
    x, on_meta = random_volume((options.size,) * 3), torch.empty(1, 1, *(options.size,) * 3, device="meta")
    forms, notes = available_forms((FOLDED_TORCH, FOLDED_NUMBA))
    contestants, sizes = {}, {}
    ours = own_size(options)
    for form in forms:
        network = form.build("SEG-CSS", 1, options.labels)
        contestants[form.name] = Contestant(lambda network=network: network(x), context=form.context)
        sizes[form.name] = ours
    found = []
    for peer in (PLAIN_CONV_UNET, SEG_RESNET, U_MAMBA, *([SWIN_UNETR] if options.swin else [])):
        if peer.missing is not None:
            notes.append(f"{peer.name}: not run, {peer.missing}")
            continue
        network = peer.build(options.labels).eval()
        sizes[peer.name] = parameters(network), multiplications(copy.deepcopy(network).to("meta"), on_meta)
        slow = peer is SWIN_UNETR
        small = random_volume((64, 64, 64))
        contestants[peer.name] = Contestant(
            lambda network=network: network(x),
            (lambda network=network, small=small: network(small)) if slow else None,
            repeats=1 if slow else None,
        )
        found.append(peer)
    times, _ = take_times(contestants, options.repeats)
    best = min((times[form.name] for form in forms), key=lambda t: t.median)
    rows = [
        [
            name,
            f"{sizes[name][0] / 1e6:.1f}",
            f"{sizes[name][1] / 1e9:.0f}",
            format_seconds(taken.median),
            taken.spread,
            f"{taken.median / best.median:.1f}",
        ]
        for name, taken in times.items()
    ]
    goals = [
        Goal(
            f"{forms[-1].name}, against {peer.name}, both eager", times[peer.name].median / best.median, limit, "times"
        )
        for peer, limit in FASTER.items()
        if peer in found
    ]
    notes.append("Multiply-adds are those of convolutions and matrix products, as published; folded forms need fewer.")
    if SWIN_UNETR in found:
        notes.append(f"{SWIN_UNETR.name} ran once, after a warm-up on 64^3 voxels.")
    return Part(
        "peers",
        "Other networks, eager PyTorch",
        f"One patch of {options.size}^3 voxels, one channel, {options.labels} classes, float32, evaluation mode; "
        f"median of {options.repeats}, in turn in one process.",
        ["network", "parameters, millions", "GMAC", "seconds", "fastest to slowest", "times NNMamba's best"],
        rows,
        goals,
        notes=notes,
        data={name: taken.as_dict() for name, taken in times.items()},
    )


if __name__ == "__main__":
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--size", type=int, default=128, help="voxels along each axis, a multiple of 32 (128)")
    parser.add_argument("--labels", type=int, default=14, help="with background (14)")
    parser.add_argument("--swin", action=argparse.BooleanOptionalAction, default=True, help="also SwinUNETR (yes)")
    sys.exit(main(parser.parse_args(), measure, PACKAGES))
