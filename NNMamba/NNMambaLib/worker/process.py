"""The worker process: keeps one engine warm, runs the jobs that come in, and ends when its caller does."""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import queue
import shutil
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from NNMambaLib.errors import NNMambaError
from NNMambaLib.runtime.openmp import limit_spinning
from NNMambaLib.worker.messages import from_line, result_to_message, to_line
from NNMambaLib.worker.questions import answer
from NNMambaLib.worker.voxels import map_volume

LOG_FILE = "worker.log"


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the process; see `Worker`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the private folder of client and worker")
    parser.add_argument("--idle", type=float, required=True, help="seconds without a job after which to end")
    parser.add_argument("--beat", type=float, required=True, help="seconds between signs of life")
    options = parser.parse_args(arguments)
    # Slicer names its own plug-ins here, which SimpleITK cannot load outside of Slicer.
    os.environ.pop("ITK_AUTOLOAD_PATH", None)
    limit_spinning()
    # Output of libraries must not come between the messages.
    messages = os.fdopen(os.dup(1), "wb", buffering=0)
    log = os.open(options.folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    # Standard input itself becomes empty: libraries that look at it would block while it is being read.
    commands = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    Worker(commands, messages, options.folder, options.idle, options.beat).run()
    # The reading thread cannot be stopped, and Python would abort on it.
    os._exit(0)


class Worker:
    """Runs jobs one after the other.

    Args:
        commands: ``run``, ``ask``, ``cancel`` and ``stop``, a JSON line each; its end means that the caller is gone.
        messages: ``started``, ``ready``, ``alive``, ``progress``, ``finished``, ``failed`` and ``idle``.
        folder: removed when the caller is gone.
        idle_seconds: without a job, after which the worker ends.
        beat_seconds: between signs of life, by which the caller knows a busy worker from a stopped one.
    """

    def __init__(self, commands: BinaryIO, messages: BinaryIO, folder: Path, idle_seconds: float, beat_seconds: float):
        self._commands, self._messages = commands, messages
        self._folder, self._idle_seconds, self._beat_seconds = folder, idle_seconds, beat_seconds
        self._saying = threading.Lock()
        self._jobs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled: set[str] = set()
        self._engines: dict[tuple, Any] = {}

    def run(self) -> None:
        # Slicer's interpreter is a launcher: the caller knows that one's ID alone.
        self._say(event="started", pid=os.getpid())
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        # Imported while the caller is still handing over its first volume; each job reports what is missing.
        with suppress(ImportError, OSError):
            import NNMambaLib.engine  # noqa: F401
            from NNMambaLib.inference.warm_up import warm_up

            threading.Thread(target=warm_up, daemon=True).start()
        self._say(event="ready")
        while True:
            try:
                job = self._jobs.get(timeout=self._idle_seconds)
            except queue.Empty:
                self._say(event="idle")
                return
            if job is None:
                return
            self._run(job)

    def _read(self) -> None:
        for line in self._commands:
            try:
                command = _command(line)
            except ValueError as error:
                # Such as the part of a line that a caller left who was killed while writing it.
                print(f"The worker was sent what is not a command ({error}).", flush=True)
                continue
            if command["do"] == "cancel":
                self._cancelled.add(command["job"])
            else:
                self._jobs.put(None if command["do"] == "stop" else command)
                if command["do"] == "stop":
                    return
        # The caller is gone, and nobody else will clean up.
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)

    def _beat(self) -> None:
        while True:
            time.sleep(self._beat_seconds)
            self._say(event="alive")

    def _run(self, command: dict[str, Any]) -> None:
        job = command["job"]
        try:
            result = self._answer(command) if command["do"] == "ask" else self._compute(command)
            self._say(event="finished", job=job, result=result)
        except NNMambaError as error:
            self._say(event="failed", job=job, kind=type(error).__name__, message=str(error))
        except ImportError as error:
            traceback.print_exc()
            message = (
                f"The engine cannot start ({error}): set up NNMamba first, in Slicer with the button of its module, "
                "elsewhere with pip."
            )
            self._say(event="failed", job=job, kind="WorkerError", message=message)
        except Exception as error:
            # Anything else is a fault of ours: the job ends with it; the worker and its models stay.
            traceback.print_exc()
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            message = f"The engine met an error that it did not expect ({reason}): please report it."
            self._say(event="failed", job=job, kind="WorkerError", message=message, details=traceback.format_exc())
        self._cancelled.discard(job)

    def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        # Packages that were installed since the worker started are not known to it yet.
        importlib.invalidate_caches()
        return answer(command["question"], command["arguments"])

    def _compute(self, command: dict[str, Any]) -> dict[str, Any]:
        job = command["job"]
        result = self._engine(command).run(
            command["task"],
            [map_volume(volume) for volume in command["volumes"]],
            command["model"],
            on_progress=lambda progress: self._say(event="progress", job=job, **vars(progress)),
            is_cancelled=lambda: job in self._cancelled,
            **command["options"],
        )
        return result_to_message(command["task"], result, Path(command["folder"]))

    def _engine(self, command: dict[str, Any]):
        importlib.invalidate_caches()
        from NNMambaLib.engine import Engine

        key = command["device"], command["backend"], command["memory_limit"], command["precision"]
        if key not in self._engines:
            # Engines of other devices would keep their networks beside those of this one.
            self._engines = {key: Engine(*key)}
        return self._engines[key]

    def _say(self, **message: Any) -> None:
        line = to_line(message)
        with self._saying:
            try:
                self._messages.write(line)
            except BrokenPipeError:
                # The reading thread finds the caller gone, too, and ends the process.
                threading.Event().wait()


def _command(line: bytes) -> dict[str, Any]:
    command = from_line(line)
    if command.get("do") not in ("run", "ask", "cancel", "stop"):
        raise ValueError("it does not say what to do")
    if command["do"] != "stop" and not isinstance(command.get("job"), str):
        raise ValueError("it names no job")
    return command
