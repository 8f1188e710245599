"""Temporary files and folders that say whose they are, so that those of dead processes can be removed."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

HIDDEN, PLAIN = ".nnmamba-", "nnmamba-"
"""How names begin beside outputs, and in the system's folder for temporary files."""

_STILL_ACTIVE = 259
_QUERY_LIMITED_INFORMATION = 0x1000


def temporary_prefix(start: str = HIDDEN) -> str:
    """Return how the name of a temporary file or folder of this process begins; something random is to follow."""
    return f"{start}{_place()}-{os.getpid()}-"


def remove_leftovers(folder: str | Path, start: str = HIDDEN) -> None:
    """Remove what processes that are dead left in a folder under names from `temporary_prefix`.

    Left alone are names of other hosts and containers, whose processes cannot be seen from here, files of other users,
    and what cannot be removed.
    """
    pattern = re.compile(rf"{re.escape(start)}{_place()}-(\d{{1,10}})-")
    try:
        entries = list(os.scandir(folder))
    except OSError:
        # What needs the folder says so.
        return
    for entry in entries:
        found = pattern.match(entry.name)
        if found is None or is_running(int(found[1])):
            continue
        with suppress(OSError):
            if hasattr(os, "getuid") and entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def is_running(process: int) -> bool:
    """Return whether there is a process of that number; where the system does not tell, it is taken to be there."""
    if sys.platform == "win32":
        return _is_running_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _is_running_on_windows(process: int) -> bool:
    # Not os.kill: there, its signal 0 is Ctrl-C.
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[reportAttributeAccessIssue] # Windows has it
    handle = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, process)
    if not handle:
        # 87, an invalid parameter, stands for a number that no process has.
        return ctypes.get_last_error() != 87  # type: ignore[reportAttributeAccessIssue] # Windows has it
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == _STILL_ACTIVE


@functools.lru_cache(maxsize=1)
def _place() -> str:
    """Return a token for the host and, in a container, its own numbering of processes: a hash, which names nobody."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace"))
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()[:8]
