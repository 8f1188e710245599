"""Python programs that this one starts: they run no file of the working directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def python_command(program: str, python: str = sys.executable) -> list[str]:
    """Return the command line that runs a program's text in another interpreter.

    Without ``-P`` a file in the working directory, such as a ``queue.py`` among the data, would be imported in place of
    the library of that name.
    """
    return [python, "-P", "-c", program]


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for such a program: ``PYTHONPATH`` without entries that mean the working directory.

    An empty entry, as in ``PYTHONPATH=$PYTHONPATH:/folder`` where the variable was not set, means that folder too.
    """
    child = dict(environment)
    if "PYTHONPATH" in child:
        entries = child["PYTHONPATH"].split(os.pathsep)
        kept = [entry for entry in entries if os.path.normpath(entry) != os.curdir]
        child["PYTHONPATH"] = os.pathsep.join(kept)
    return child
