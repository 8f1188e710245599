"""The section on the engine's process, the worker."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

from NNMambaLib.panel.shared_worker import idle_seconds, set_idle_minutes, shared_worker
from NNMambaLib.panel.task_panel import describe_progress
from NNMambaLib.runtime.units import format_bytes
from NNMambaLib.worker.client import WorkerClient, WorkerState
from NNMambaLib.worker.job import WorkerJob
from NNMambaLib.worker.questions import Question


class EngineSection:
    """Shows the state of the worker, and stops it.

    Args:
        ui: ``engineStateLabel``, ``idleSpinBox``, ``stopButton``.
    """

    def __init__(self, ui):
        self.ui = ui
        ui.idleSpinBox.value = round(idle_seconds() / 60)
        ui.idleSpinBox.connect("valueChanged(int)", self._idle_changed)
        ui.stopButton.connect("clicked(bool)", self._stop)
        self.refresh()

    def refresh(self) -> None:
        """Show the state as it is now."""
        worker = shared_worker()
        self.ui.engineStateLabel.text = describe_worker(worker)
        self.ui.stopButton.enabled = worker.state is not WorkerState.STOPPED

    def _stop(self, checked: bool = False) -> None:
        shared_worker().stop()
        self.refresh()

    def _idle_changed(self, minutes: int) -> None:
        set_idle_minutes(minutes)


def describe_worker(worker: WorkerClient) -> str:
    """Return the worker's state, its process and memory, and the job that it runs."""
    if worker.state is WorkerState.STOPPED:
        return _("Stopped: the engine's process starts with the first job.")
    memory = "" if worker.pid is None else _memory(worker.pid)
    process = _("process {pid}").format(pid=worker.pid) + (f", {memory}" if memory else "")
    if worker.state is WorkerState.STARTING:
        return _("Starting ({process})").format(process=process)
    if worker.state is WorkerState.IDLE:
        return _("Idle ({process})").format(process=process)
    return _("Working on {job} ({process})").format(job=_describe_job(worker.jobs[0]), process=process)


def _describe_job(job: WorkerJob) -> str:
    if isinstance(job.request, Question):
        return _("the installation of a model") if job.request.name == "install" else _("a look at this machine")
    text = _("{task} with {model}").format(task=_(job.request.task), model=Path(job.request.model).name)
    return text if job.progress is None else f"{text}: {describe_progress(job.progress)}"


def _memory(pid: int) -> str:
    """Return the memory that a process holds; empty where it is not known."""
    try:
        import psutil
    except ImportError:
        return ""
    try:
        return format_bytes(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return ""
