"""The command's process: its streams, signals, and forks."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from helpers.forked import run_in_fork
from NNMambaLib.cli import main
from NNMambaLib.engine import Engine
from NNMambaLib.errors import BackendError, NNMambaError
from NNMambaLib.evaluation.cases import case_files
from NNMambaLib.files import write_text
from NNMambaLib.models.catalogue import bundled_folder, find_package
from NNMambaLib.models.package import open_package
from NNMambaLib.runtime.leftovers import temporary_prefix
from NNMambaLib.training.configuration import Configuration, read_configuration
from NNMambaLib.training.train_folder import train_folder
from NNMambaLib.volumes.files import read_volume
from NNMambaLib.volumes.volume import Volume

LIBRARY = Path(__file__).parents[3] / "NNMamba"
COMMAND = [sys.executable, "-P", "-m", "NNMambaLib.cli"]


def environment(**changes):
    return os.environ | {"PYTHONPATH": str(LIBRARY), "PYTHONUTF8": "1"} | changes


@pytest.fixture(autouse=True)
def interruptible_children():
    """Children inherit an ignored SIGINT, as where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


@pytest.mark.parametrize("arguments", [("models", "list"), ("info",)])
def test_user_without_home_and_name(arguments):
    code = """
        import os, pathlib, sys

        def nowhere(*_):
            raise RuntimeError("Could not determine home directory.")

        pathlib.Path.home = nowhere
        os.environ.pop("NNMAMBA_MODELS", None), os.environ.pop("XDG_DATA_HOME", None)
        from NNMambaLib.cli import main
        sys.exit(main(sys.argv[1:]))
    """
    said = run([sys.executable, "-c", textwrap.dedent(code), *arguments], stdout=subprocess.PIPE).stdout
    assert "torch" in said or "brain-structures" in said


def test_leftovers_of_a_killed_run_are_removed_by_the_next(tmp_path):
    code = """
        import os, signal, sys
        from pathlib import Path
        from NNMambaLib.runtime.leftovers import temporary_prefix
        Path(sys.argv[1], f"{temporary_prefix()}x-labels.nrrd").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], -signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    own = tmp_path / f"{temporary_prefix()}x-labels.nrrd"
    own.touch()
    run([*COMMAND, "models", "list", "--json", str(tmp_path / "report.json")], stdout=subprocess.PIPE)
    assert not left.exists()
    assert own.exists()


def latin1(folder, name="k\xfcrbis.nii.gz"):
    """Make a file whose name is not UTF-8, as old archives have them; return its path."""
    path = os.fsencode(folder) + b"/" + name.encode("latin-1")
    try:
        Path(os.fsdecode(path)).touch()
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    return os.fsdecode(path)


@pytest.mark.parametrize("where", ["input", "inside", "output", "model", "json"])
def test_names_that_are_not_utf8_are_refused_by_name(tmp_path, where):
    bad = latin1(tmp_path)
    given = {"input": str(tmp_path / "a.nii"), "output": "out.nrrd", "model": "m", "json": str(tmp_path / "r.json")}
    given |= {"input": str(tmp_path)} if where == "inside" else {where: bad}
    command = [*COMMAND, "segment", given["input"], "--model", given["model"], "--output", given["output"]]
    said = run([*command, "--json", given["json"]], 1).stderr
    assert "k\\xfcrbis.nii.gz" in said
    assert "is not UTF-8" in said


@pytest.mark.parametrize(
    "use",
    [
        find_package,
        open_package,
        read_volume,
        lambda path: write_text("text", path),
        lambda path: read_volume(Path(path).parent),
        lambda path: case_files(Path(path).parent, [".nii.gz"]),
        lambda path: train_folder("landmarks", Path(path).parent, "run", Configuration()),
        lambda path: train_folder("landmarks", "data", path, Configuration()),
        read_configuration,
    ],
    ids=["model", "package", "volume", "output", "DICOM", "cases", "data", "run", "configuration"],
)
def test_scripts_are_refused_such_names_too(tmp_path, use):
    with pytest.raises(NNMambaError, match=r"The name .*k\\xfcrbis\.nii\.gz is not UTF-8: rename it, or give another"):
        use(latin1(tmp_path))


def test_names_of_surrogates_alone_are_refused(tmp_path, capsys):
    assert main(["segment", "a.nii", "--model", "m", "--output", str(tmp_path / "\ud800.nrrd")]) == 1
    assert "\\ud800.nrrd is not UTF-8" in capsys.readouterr().err


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
        assert process.stdout is not None
        assert process.stderr is not None
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


def test_fork_after_use_is_refused(segmentation_package):
    volume = Volume(np.zeros((1, 32, 32, 32), np.float32), np.diag([3.0, 3.0, 3.0, 1.0]))
    engine = Engine("cpu", "torch")
    engine.segment(volume, segmentation_package)

    def use():
        for way in (lambda: Engine("cpu"), lambda: engine.segment(volume, segmentation_package)):
            with pytest.raises(BackendError, match="start processes with spawn"):
                way()

    run_in_fork(use)
