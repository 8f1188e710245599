"""Errors whose message is one sentence for the user: it names the thing and the remedy."""


class NNMambaError(Exception):
    """Base of every error that the engine raises on purpose."""


class VolumeError(NNMambaError):
    """A volume cannot be read, written or used."""


class ModelError(NNMambaError):
    """A model package is missing, damaged, or does not fit what was asked of it."""


class OutputError(NNMambaError):
    """A result cannot be written where it was asked for."""


class MemoryPlanError(NNMambaError):
    """No way of running the job fits into the memory that is available."""


class TrainingError(NNMambaError):
    """A training cannot be run as it was configured, or does not converge."""


class BackendError(NNMambaError):
    """A device or a selective-scan backend was asked for that cannot be used here."""


class WorkerError(NNMambaError):
    """The engine's process ended before its job did, or met an error that it did not expect."""


class BatchError(NNMambaError):
    """A batch cannot be run, or some of its cases have failed.

    Attributes:
        exit_code: of the command: 1 where some cases failed, 3 where nothing could run.
        report: for ``--json``.
    """

    def __init__(self, message: str, exit_code: int = 3, report: dict | None = None):
        super().__init__(message)
        self.exit_code, self.report = exit_code, report or {}


class Cancelled(NNMambaError):
    """The caller cancelled the job."""
