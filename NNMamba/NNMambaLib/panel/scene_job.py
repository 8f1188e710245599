"""A job on volumes of the scene, cancelled when they are removed or the scene is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import slicer
import vtk
from slicer.util import VTKObservationMixin

from NNMambaLib import scene as nnmamba_scene
from NNMambaLib.errors import Cancelled, NNMambaError
from NNMambaLib.progress import Progress
from NNMambaLib.worker.client import WorkerClient
from NNMambaLib.worker.job import JobRequest, WorkerJob
from NNMambaLib.worker.messages import Result


class SceneJob(VTKObservationMixin):
    """Runs a task in the worker on volume nodes.

    Closing the scene or removing one of the nodes cancels the job, which then fails with `Cancelled`.

    Args:
        request: what to run; its volumes are those of the nodes.
        nodes: one for each of the model's channels; parent transforms are applied.
        on_result: gets the result, whose voxels are valid until it returns (see `WorkerClient.submit`).
        on_failed: gets an error with a sentence for the user, `Cancelled` where the job was cancelled.

    Raises:
        VolumeError: if a node cannot be used.
    """

    def __init__(
        self,
        worker: WorkerClient,
        request: JobRequest,
        nodes: Sequence[slicer.vtkMRMLVolumeNode],
        on_progress: Callable[[Progress], None],
        on_result: Callable[[Result], None],
        on_failed: Callable[[NNMambaError], None],
    ):
        VTKObservationMixin.__init__(self)
        # The worker checks the voxels: a large volume would freeze the panel.
        volumes = [nnmamba_scene.volume_from_node(node, check=False) for node in nodes]
        self._nodes = tuple(nodes)
        self._on_result, self._on_failed = on_result, on_failed
        self._why_ended: str | None = None
        scene = nodes[0].GetScene()
        self.addObserver(scene, slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._node_removed)
        self.addObserver(scene, slicer.vtkMRMLScene.StartCloseEvent, self._scene_closed)
        request = replace(request, volumes=volumes)
        self._job: WorkerJob = worker.submit(request, on_progress, self._finished, self._failed)

    @property
    def ended(self) -> bool:
        return self._job.ended

    @property
    def cancels(self) -> int:
        """How many times the job was asked to end."""
        return self._job.cancels

    def cancel(self) -> None:
        """End the job at its next tile; the second time, end the worker's process at once."""
        self._job.cancel()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, caller, event, node) -> None:
        if node in self._nodes and self._why_ended is None:
            self._why_ended = f"The volume {node.GetName()} was removed while it was worked on: nothing was added."
            self._job.cancel()

    def _scene_closed(self, caller, event) -> None:
        if self._why_ended is None:
            self._why_ended = "The scene was closed while a job was running: nothing was added."
            self._job.cancel()

    def _finished(self, result: Result) -> None:
        self.removeObservers()
        if self._why_ended is not None:
            self._on_failed(Cancelled(self._why_ended))
        else:
            self._on_result(result)

    def _failed(self, error: NNMambaError) -> None:
        self.removeObservers()
        if self._why_ended is not None:
            error = Cancelled(self._why_ended)
        self._on_failed(error)
