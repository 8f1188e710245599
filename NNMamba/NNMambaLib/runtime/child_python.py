"""Python programs that this one starts: they run no file of the working directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_WINDOWS = sys.platform == "win32"


def python_command(program: str, python: str = sys.executable) -> list[str]:
    """Return the command line that runs a program's text in another interpreter.

    Without ``-P`` a file in the working directory, such as a ``queue.py`` among the data, would be imported in place of
    the library of that name.
    """
    return [python, "-P", "-c", program]


def safe_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that such a program, and those that it starts, must have other than this one.

    ``PYTHONPATH`` loses the entries that depend on the working directory. An empty one, as in
    ``PYTHONPATH=$PYTHONPATH:/folder`` where the variable was not set, means that folder itself.
    """
    safe = {"PYTHONSAFEPATH": "1"}
    if "PYTHONPATH" in environment:
        entries = environment["PYTHONPATH"].split(os.pathsep)
        safe["PYTHONPATH"] = os.pathsep.join(entry for entry in entries if os.path.isabs(entry))
    return safe


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the whole environment for such a program."""
    return {**environment, **safe_variables(environment)}


@contextmanager
def safe_children() -> Iterator[None]:
    """Let the processes that a library starts within the block have `child_environment`: it offers no other way."""
    before = {name: os.environ.get(name) for name in safe_variables()}
    os.environ |= safe_variables()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def iterate_safely(loader: Iterable[T]) -> Iterator[T]:
    """Return an iterator over a loader, whose processes start here, as `safe_children`."""
    with safe_children():
        return iter(loader)


def find_program(name: str) -> str | None:
    """Return the path of a program in one of the folders that ``PATH`` names absolutely, or None.

    Unlike with `shutil.which`, it is never one in the working directory, where Windows looks first.
    """
    endings = os.environ.get("PATHEXT", ".EXE").split(os.pathsep) if _WINDOWS else [""]
    for folder in os.get_exec_path():
        for ending in endings if os.path.isabs(folder) else ():
            path = os.path.join(folder, name + ending)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return None
