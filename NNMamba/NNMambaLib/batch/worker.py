"""A process that runs a batch's cases: while one is computed, the next is read and the one before is written."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

from NNMambaLib.batch.plan import Case, Plan
from NNMambaLib.batch.run_case import CaseRunner, OpenCase
from NNMambaLib.errors import NNMambaError
from NNMambaLib.runtime.openmp import limit_spinning


def main() -> None:
    """Entry point of the process.

    Standard input brings the plan, then cases, a JSON line each, then ``null`` for no more; its end without that means
    that the parent is gone. Standard output tells of each case when it is ``computing``, ``computed`` and ``ended``.
    """
    os.environ.pop("ITK_AUTOLOAD_PATH", None)
    limit_spinning()
    messages = os.fdopen(os.dup(1), "wb", buffering=0)
    # What libraries print must not come between the messages.
    os.dup2(2, 1)
    commands = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    first = json.loads(commands.readline() or b"null")
    if first is None:
        return
    cases: queue.Queue[Case | None] = queue.Queue()
    threading.Thread(target=_receive, args=(commands, cases), daemon=True).start()
    try:
        runner = _runner(first)
    except NNMambaError as error:
        _say(messages, event="unable", error=str(error))
    else:
        _say(messages, event="ready", pid=os.getpid())
        _run(runner, cases, messages)
    # The thread that reads cannot be stopped, and Python would wait for it.
    sys.stderr.flush()
    os._exit(0)


def _runner(first: dict[str, Any]) -> CaseRunner:
    import torch

    if first["threads"]:
        torch.set_num_threads(first["threads"])
    return CaseRunner(Plan.from_message(first["plan"]))


def _receive(commands: BinaryIO, cases: queue.Queue[Case | None]) -> None:
    for line in commands:
        if not line.endswith(b"\n"):
            break
        message = json.loads(line)
        cases.put(None if message is None else Case.from_message(message))
        if message is None:
            return
    # The parent was killed: another may have been started, and is to find every case free.
    os._exit(1)


def _run(runner: CaseRunner, cases: queue.Queue[Case | None], messages: BinaryIO) -> None:
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        written: Future[None] | None = None
        for opened in _read_ahead(runner, cases, reader):
            _say(messages, event="computing", case=opened.case.name)
            runner.compute(opened)
            _say(messages, event="computed", case=opened.case.name)
            # One result waits to be written at most: memory does not grow with the cases.
            if written is not None:
                written.result()
            written = writer.submit(_write, runner, opened, messages)
            del opened


def _read_ahead(runner: CaseRunner, cases: queue.Queue[Case | None], reader: ThreadPoolExecutor) -> Iterator[OpenCase]:
    """Yield the cases, of which the next is read while the one before is in use."""
    coming: Future[OpenCase] | None = None
    while True:
        if coming is None:
            case = cases.get()
            if case is None:
                return
            coming = reader.submit(runner.read, case)
        opened, coming = coming.result(), None
        try:
            case = cases.get_nowait()
        except queue.Empty:
            pass
        else:
            if case is None:
                yield opened
                return
            coming = reader.submit(runner.read, case)
        yield opened


def _write(runner: CaseRunner, opened: OpenCase, messages: BinaryIO) -> None:
    outcome = runner.write(opened)
    _say(messages, event="ended", case=outcome.case, status=outcome.status, error=outcome.error)


_saying = threading.Lock()


def _say(messages: BinaryIO, **message: Any) -> None:
    with _saying:
        messages.write(json.dumps(message).encode() + b"\n")
