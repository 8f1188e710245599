"""Runs a task on volume nodes for a script: the caller waits, its process stays free of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import slicer

from NNMambaLib.models.catalogue import find_package
from NNMambaLib.panel.scene_job import SceneJob
from NNMambaLib.panel.shared_worker import pump_events, shared_worker
from NNMambaLib.progress import Progress
from NNMambaLib.scene.volumes import volume_from_node
from NNMambaLib.worker.job import JobRequest
from NNMambaLib.worker.messages import Result

# How often Ctrl+C is noticed while the worker is silent.
_PUMP_SECONDS = 0.05

Put = TypeVar("Put")


def run_from_script(
    request: JobRequest,
    nodes: slicer.vtkMRMLVolumeNode | Sequence[slicer.vtkMRMLVolumeNode],
    put: Callable[[Result, slicer.vtkMRMLVolumeNode], Put],
    on_progress: Callable[[Progress], None] | None = None,
    in_process: bool = False,
) -> Put:
    """Run a task on volume nodes and return what `put` makes of its result.

    The job runs in the worker that the panels use, after the jobs that were submitted before it. What `on_progress` or
    `put` raises cancels the job and is raised here, as is KeyboardInterrupt.

    Args:
        request: what to run; its volumes are those of the nodes.
        nodes: a volume node, or one for each of the model's channels; parent transforms are applied.
        put: puts a result into the scene; gets the result and the first node.
        in_process: run the engine in the caller's process instead.

    Raises:
        NNMambaError: with a sentence for the user; `Cancelled` where the scene was closed or a node removed.
    """
    nodes = list(nodes) if isinstance(nodes, (list, tuple)) else [nodes]
    # A path may be relative to a folder that is not the worker's.
    request = replace(request, model=str(find_package(request.model).path.absolute()))
    if in_process:
        return put(_run_in_process(request, nodes, on_progress), nodes[0])
    outcome: list[Put] = []
    errors: list[BaseException] = []

    # Qt would only print what is raised in a callback.
    def progressed(progress: Progress) -> None:
        if on_progress is None or errors:
            return
        try:
            on_progress(progress)
        except BaseException as error:
            errors.append(error)
            job.cancel()

    def finished(result: Result) -> None:
        try:
            outcome.append(put(result, nodes[0]))
        except BaseException as error:
            errors.append(error)

    job = SceneJob(shared_worker(), request, nodes, progressed, finished, errors.append)
    while not job.ended:
        try:
            pump_events(_PUMP_SECONDS)
        except KeyboardInterrupt as error:
            errors.append(error)
            job.cancel()
    if errors:
        raise errors[0]
    return outcome[0]


def _run_in_process(
    request: JobRequest,
    nodes: Sequence[slicer.vtkMRMLVolumeNode],
    on_progress: Callable[[Progress], None] | None,
) -> Result:
    # It imports torch.
    from NNMambaLib.engine import Engine

    volumes = [volume_from_node(node, check=False) for node in nodes]
    engine = Engine(request.device, request.backend, request.memory_limit, request.precision)
    return engine.run(request.task, volumes, request.model, on_progress=on_progress, **request.options)
