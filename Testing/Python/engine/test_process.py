"""The command's process: its streams, signals, and forks."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from NNMambaLib.engine import Engine
from NNMambaLib.errors import BackendError
from NNMambaLib.models.catalogue import bundled_folder
from NNMambaLib.volumes.volume import Volume

LIBRARY = Path(__file__).parents[3] / "NNMamba"
COMMAND = [sys.executable, "-P", "-m", "NNMambaLib.cli"]


def environment(**changes):
    return os.environ | {"PYTHONPATH": str(LIBRARY), "PYTHONUTF8": "1"} | changes


@pytest.fixture
def listing(tmp_path):
    """A command that prints many lines, and writes a report."""
    report, model = tmp_path / "report.json", tmp_path / "Schädel"
    model.symlink_to(bundled_folder() / "brain-structures")
    command = [*COMMAND, "models", "info", str(model), "--json", str(report)]
    yield command
    assert json.loads(report.read_text(encoding="utf-8"))["success"]


def run(command, code=0, **options):
    options = {"env": environment(), "stderr": subprocess.PIPE, "text": True} | options
    done = subprocess.run(command, timeout=60, check=False, **options)
    assert "Traceback" not in (done.stderr or "")
    assert "Exception ignored" not in (done.stderr or "")
    assert done.returncode == code
    return done


def test_characters_that_stdout_cannot_encode(listing):
    out = run(listing, env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"), stdout=subprocess.PIPE).stdout
    assert "Sch\\xe4del" in out


def test_closed_pipe(listing):
    reader, writer = os.pipe()
    os.close(reader)
    assert run(listing, stdout=writer).stderr == ""
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_full_disk_behind_stdout_is_told(listing):
    with open("/dev/full", "w") as full:
        said = run(listing, 1, stdout=full).stderr
    assert said.startswith("nnmamba: What was printed is not complete (No space left on device)")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams(listing, closed):
    run(["bash", "-c", f'"$@" {closed}', "bash", *listing], stdout=subprocess.PIPE)


def test_nothing_is_printed_into_an_output(tmp_path):
    report = tmp_path / "report.json"
    command = [*COMMAND, "models", "info", "no-such-model", "--json", str(report)]
    run(["bash", "-c", '"$@" >&- 2>&-', "bash", *command], 1)
    assert "no-such-model" in json.loads(report.read_text(encoding="utf-8"))["error"]


_INTERRUPTED = """
    import os, signal, sys, threading
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == sys.argv[1]:
                signal.raise_signal(int(sys.argv[2]))
    sys.meta_path.insert(0, Finder())
    from NNMambaLib.cli import main
    sys.exit(main(["models", "list"]))
"""


@pytest.mark.parametrize("imported", ["NNMambaLib.commands.program", "argparse", "NNMambaLib.models.catalogue"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_it_starts(imported, number, code):
    said = run([sys.executable, "-c", textwrap.dedent(_INTERRUPTED), imported, str(int(number))], code).stderr
    assert said == "nnmamba: Interrupted: what was not complete was not written.\n"


_WRITING = """
    import sys, time
    from pathlib import Path
    from NNMambaLib import cli
    from NNMambaLib.commands import info
    from NNMambaLib.files import atomic_file

    def write(arguments):
        with atomic_file(sys.argv[1]) as temporary:
            temporary.write_text("half")
            print("ready", flush=True)
            for _ in range(600):
                time.sleep(0.1)

    info.run = write
    sys.exit(cli.main(["info"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_no_half_file(tmp_path, number, code):
    command = [sys.executable, "-c", textwrap.dedent(_WRITING), str(tmp_path / "out.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(20) == code
        assert b"Interrupted" in process.stderr.read()
    assert not list(tmp_path.iterdir())


def test_signals_that_are_ignored_stay_so(tmp_path):
    code = """
        import signal, sys
        from NNMambaLib.runtime.signals import interruptible
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interruptible() as found:
            signal.raise_signal(signal.SIGINT)
        sys.exit(found.code is not None)
    """
    run([sys.executable, "-c", textwrap.dedent(code)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_fork_after_use_is_refused(segmentation_package):
    volume = Volume(np.zeros((1, 32, 32, 32), np.float32), np.diag([3.0, 3.0, 3.0, 1.0]))
    engine = Engine("cpu", "torch")
    engine.segment(volume, segmentation_package)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for use in (lambda: Engine("cpu"), lambda: engine.segment(volume, segmentation_package)):
                with pytest.raises(BackendError, match="start processes with spawn"):
                    use()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    assert ended[1] == 0
