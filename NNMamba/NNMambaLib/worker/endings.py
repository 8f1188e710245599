"""Why a job ended without a result, where it was not the engine that said so."""

from __future__ import annotations

from NNMambaLib.errors import Cancelled, WorkerError


def cancelled() -> Cancelled:
    """Return the error of a job that its caller cancelled."""
    return Cancelled("The job was cancelled; nothing was changed.")


def died(code: int, log: str, launched: bool) -> WorkerError:
    """Return the error of a job whose process ended.

    Args:
        code: the exit code, negative for a signal.
        log: what the process printed.
        launched: whether the code is that of a launcher, and the process its child.
    """
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    if launched and code > 0 and "Traceback" not in log:
        # The worker says why it ends by itself; Slicer's launcher ends with 1 where the system has killed the worker.
        how = "killed from outside"
    said = log.strip().splitlines()
    last = f"; its last words: {said[-1]}" if said else ""
    return WorkerError(
        f"The engine's process ended before its job did ({how}{last}): if memory ran out, close other programs or use "
        "a smaller volume; the next run starts it again."
    )
