"""Running something in a process that was forked, which must not hang."""

import os
import signal
import time

import pytest

_SECONDS = 20


def run_in_fork(function):
    """Run a function in a forked process; fail if it raises there, or does not end."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork on this system")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + _SECONDS
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    assert ended[1] == 0
