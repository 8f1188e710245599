"""A plan in words, for people, and in JSON, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from NNMambaLib.runtime.units import format_bytes, format_duration
from NNMambaLib.training.configuration import as_json
from NNMambaLib.training.fingerprint import Learnt, Range
from NNMambaLib.training.plan import Plan

_MOST_LEARNT = 30


def plan_rows(plan: Plan, seconds_a_step: float | None = None) -> list[list[str]]:
    """Return the plan as rows of two cells: what, and how it is or will be.

    Args:
        seconds_a_step: measured on this machine, where it was.
    """
    return [list(row) for row in (*_data_rows(plan), *_training_rows(plan, seconds_a_step))]


def plan_json(plan: Plan, seconds_a_step: float | None = None) -> dict[str, Any]:
    """Return all of a plan for programs; ranges are the least, the median and the greatest."""
    requirements = plan.requirements
    content = {
        "task": plan.task,
        "configuration": as_json(plan.configuration),
        "input": asdict(plan.specification),
        "split": asdict(plan.split),
        "fingerprint": asdict(plan.fingerprint),
        "device": requirements.device,
        "parameters": requirements.parameters,
        "step_bytes": requirements.step_bytes,
        "free_bytes": requirements.free.bytes,
        "seconds_a_step": seconds_a_step,
        "warnings": plan.warnings,
    }
    return json.loads(json.dumps(content))


def _data_rows(plan: Plan) -> Iterator[tuple[str, str]]:
    found, split = plan.fingerprint, plan.split
    yield "cases", f"{found.cases}: {len(split.training)} for training, {len(split.validation)} for validation"
    yield "size (x, y, z)", f"{_axes(found.sizes, 'x')} voxels"
    yield "spacing (x, y, z)", f"{_axes(found.spacings, ' x ')} mm"
    for channel, values in zip(plan.specification.channels, found.intensities, strict=True):
        low, median, high = (f"{value:.4g}" for value in values)
        yield f"intensities of {channel.name}", f"median {median}, 99 % from {low} to {high}"
    for entry in found.learnt[:_MOST_LEARNT]:
        yield f"{entry.kind}: {entry.name}", _learnt(entry, found.cases)
    if len(found.learnt) > _MOST_LEARNT:
        yield "", f"and {len(found.learnt) - _MOST_LEARNT} more"


def _training_rows(plan: Plan, seconds_a_step: float | None) -> Iterator[tuple[str, str]]:
    settings, needs = plan.configuration, plan.requirements
    yield "network", f"{settings.variant}, base_width {settings.base_width}, {needs.parameters:,} parameters"
    yield "works at", f"{' x '.join(f'{step:g}' for step in settings.spacing)} mm"
    yield "patch", f"{'x'.join(str(size) for size in settings.patch)} voxels, batch_size {settings.batch_size}"
    kinds = {channel.name: channel.normalization.kind for channel in plan.specification.channels}
    yield "normalization", ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
    yield (
        "training",
        f"{settings.steps:,} steps, {settings.optimizer}, learning_rate {settings.learning_rate:g}, "
        f"{settings.precision} on {needs.device}",
    )
    free = f"{format_bytes(needs.free.bytes)} can be used ({needs.free.limit})"
    yield "memory of a step", f"at least {format_bytes(needs.step_bytes)}; {free}"
    if seconds_a_step is not None:
        whole = format_duration(seconds_a_step * settings.steps)
        yield "time", f"about {whole} ({seconds_a_step:.2g} s a step, without validation)"


def _learnt(entry: Learnt, cases: int) -> str:
    text = f"in {entry.cases} of {cases} cases"
    if entry.ml is not None:
        text += f", {entry.ml[0]:.3g} to {entry.ml[2]:.3g} mL"
    if entry.thickness is not None:
        text += f", {entry.thickness[0]:.2g} mm thick where it is thinnest"
    return text


def _axes(ranges: Sequence[Range], between: str) -> str:
    """Return the least and the greatest along the axes, once where they are the same, and the median."""
    least, median, most = (between.join(f"{entry[part]:.4g}" for entry in ranges) for part in range(3))
    return least if least == most else f"{least} to {most}, median {median}"
