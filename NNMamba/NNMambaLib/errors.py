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


class Cancelled(NNMambaError):
    """The caller cancelled the job."""
