"""An interpreter for the engine's processes that has torch imported already: each is forked, in place of three seconds.

As Slicer's own PythonSlicer it is a launcher: the program runs in a child of another process. Nothing has computed
before the fork, so libraries have no threads that could be missed.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import NNMambaLib

_LIBRARY = str(Path(NNMambaLib.__file__).parents[1])
_IMPORTS = "NNMambaLib.worker.process, NNMambaLib.engine, NNMambaLib.inference.warm_up, NNMambaLib.kernels.gated_scan"
_LAUNCHER = """#!{python} -SE
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
start = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
socket.send_fds(connection, [len(start).to_bytes(4, "big") + start], [0, 1, 2])
status = int(connection.makefile().read() or 1)
# As Slicer's launcher does for a child that was killed.
os._exit(status if status >= 0 else 1)
"""


@contextlib.contextmanager
def warm_python(folder):
    """Put a program ``PythonSlicer`` into a folder while the block runs; it takes ``-P -c PROGRAM ARGUMENT...``."""
    # A socket's name is short on every system, and a test's folder is not.
    address = f"\0nnmamba-{os.getpid()}" if sys.platform == "linux" else str(folder / "socket")
    launcher = folder / "PythonSlicer"
    launcher.write_text(_LAUNCHER.format(python=sys.executable, address=address), encoding="utf-8")
    launcher.chmod(0o755)
    code = f"import sys; sys.path[:0] = {[_LIBRARY, str(Path(__file__).parents[1])]!r}; import {_IMPORTS}; "
    code += f"from helpers.warm_python import serve; serve({address!r})"
    server = subprocess.Popen([sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline() == b"ready\n"
        yield
    finally:
        server.kill()
        server.wait()


def serve(address):
    """Fork for each launcher that connects."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    # Keepers are reaped by the system.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            _keep(connection)
        connection.close()


def _keep(connection):
    """Run a program in a child, and tell the launcher how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    content, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    size = 4 + int.from_bytes(content[:4], "big")
    while len(content) < size:
        content += connection.recv(size - len(content))
    arguments, environment, folder = json.loads(content[4:])
    child = os.fork()
    if child == 0:
        connection.close()
        _run(arguments, environment, folder, files)
    for file in files:
        os.close(file)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(arguments, environment, folder, files):
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    safe, option, program, *sys.argv[1:] = arguments
    assert (safe, option) == ("-P", "-c")
    code = 1
    try:
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
