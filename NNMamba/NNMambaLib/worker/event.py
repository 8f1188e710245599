"""What a line of the worker says, for the job that the client waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from NNMambaLib import errors
from NNMambaLib.errors import NNMambaError
from NNMambaLib.progress import Progress
from NNMambaLib.worker.job import WorkerJob
from NNMambaLib.worker.messages import from_line, result_from_message
from NNMambaLib.worker.questions import Question

# Bytes of a line to tell what it was.
_QUOTED = 60


@dataclass(frozen=True)
class Event:
    """What has happened in the worker.

    Attributes:
        name: ``started`` (with `pid`), ``ready``, ``alive``, ``idle``; or of a job ``progress``, ``finished``,
            ``failed`` (with the section of that kind).
        of_job: whether it concerns the job that was asked about.
        result: of a job that was not cancelled, or the answer to a question.
    """

    name: str
    of_job: bool = False
    pid: int | None = None
    progress: Progress | None = None
    result: Any = None
    error: NNMambaError | None = None


def read_event(line: bytes, job: WorkerJob | None) -> Event:
    """Return what a line says; a result whose files cannot be read is a job that failed.

    Raises:
        ValueError: if the line is no message.
    """
    try:
        return _read(from_line(line), job)
    except NNMambaError as error:
        return Event("failed", of_job=True, error=error)
    except Exception as error:
        # Whatever can be wrong with what is not a message.
        said = " ".join(line[:_QUOTED].decode(errors="replace").split())
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{reason}; it began with '{said}'") from error


def _read(message: dict[str, Any], job: WorkerJob | None) -> Event:
    name = message["event"]
    if name == "started":
        return Event(name, pid=int(message["pid"]))
    if job is None or message.get("job") != job.number:
        return Event(name)
    if name == "progress":
        progress = Progress(message["stage"], message["done"], message["total"], message["seconds_left"])
        return Event(name, of_job=True, progress=progress)
    if name == "failed":
        return Event(name, of_job=True, error=_error(message))
    return Event(name, of_job=True, result=_result(job, message["result"]) if name == "finished" else None)


def _error(message: dict[str, Any]) -> NNMambaError:
    kind = getattr(errors, message["kind"])
    if not issubclass(kind, NNMambaError):
        raise TypeError(f"{kind.__name__} is not an error of the engine")
    return kind(message["message"])


def _result(job: WorkerJob, content: Any) -> Any:
    if isinstance(job.request, Question):
        return content
    return None if job.cancels else result_from_message(content)
