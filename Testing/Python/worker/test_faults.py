"""Whatever a job holds and a process does: the job fails with its sentence, the next one runs, nothing hangs.

The process is one of the tests' own, which answers questions at once and misbehaves where a test says so.
"""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from NNMambaLib.errors import OutputError, VolumeError, WorkerError
from NNMambaLib.runtime.leftovers import HIDDEN, remove_leftovers, temporary_prefix
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.worker.job import JobRequest, JobState
from NNMambaLib.worker.questions import Question
from worker.conftest import WorkerUnderTest, is_alive

# Called as an interpreter is. A line of the file `says` is said once, when a command comes.
_PROCESS = """
    import json, sys, threading, time
    from pathlib import Path
    says, beat = Path(sys.argv[0]).with_name("says"), float(sys.argv[sys.argv.index("--beat") + 1])
    lock = threading.Lock()
    def say(line):
        with lock:
            print(line, flush=True)
    def live():
        while True:
            time.sleep(beat)
            say('{"event": "alive"}')
    threading.Thread(target=live, daemon=True).start()
    say('{"event": "ready"}')
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "stop":
            break
        if says.exists():
            text = says.read_text()
            says.unlink()
            say(text)
        elif command["do"] == "ask":
            say(json.dumps({"event": "finished", "job": command["job"], "result": command["arguments"]}))
        elif command["do"] == "run":
            kind = {"kind": "ModelError", "message": "No such model."}
            say(json.dumps({"event": "failed", "job": command["job"], **kind}))
"""


@pytest.fixture
def worker(tmp_path):
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{textwrap.dedent(_PROCESS)}", encoding="utf-8")
    program.chmod(0o755)
    folder = tmp_path / "temporary"
    folder.mkdir()
    worker = WorkerUnderTest(folder, python=str(program), silence_seconds=0.6)
    yield worker
    worker.client.close()


def run(worker, request):
    job = worker.client.submit(request)
    worker.wait(lambda: job.ended, 20)
    return job


def assert_next_job_runs(worker):
    assert run(worker, Question("echo", {"value": 1})).state is JobState.FINISHED


def segmentation(array=None, **options):
    array = np.zeros((1, 4, 4, 4), np.int16) if array is None else array
    return JobRequest("segmentation", "a-model", [Volume(array, np.eye(4), "head.nrrd")], options)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("option", [np.zeros(3), {1, 2}, object(), b"bytes", nested(100_000)])
def test_options_that_json_cannot_hold(worker, option):
    job = run(worker, segmentation(step=option))
    assert isinstance(job.error, WorkerError)
    assert "its options must be numbers, text, or lists of them" in str(job.error)
    assert_next_job_runs(worker)
    assert isinstance(run(worker, Question("echo", {"value": option})).error, WorkerError)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((1, 0, 4, 4), np.int16), "head.nrrd has no voxels"),
        (np.zeros((0, 4, 4, 4), np.int16), "head.nrrd has no voxels"),
        (np.zeros((1, 4, 4, 0), np.float32), "head.nrrd has no voxels"),
        (np.full((1, 4, 4, 4), None), "head.nrrd holds voxels of the type object"),
        (np.full((1, 4, 4, 4), "text"), "head.nrrd holds voxels of the type <U4"),
        (np.zeros((1, 4, 4, 4), "M8[s]"), "head.nrrd holds voxels of the type datetime64"),
    ],
)
def test_arrays_that_are_no_voxels(worker, array, sentence):
    job = run(worker, segmentation(array))
    assert isinstance(job.error, VolumeError)
    assert sentence in str(job.error)
    assert_next_job_runs(worker)


@pytest.mark.parametrize(
    "line",
    [
        "Segmentation fault",
        "[1, 2]",
        "{}",
        "[" * 100_000,
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        '{"event": "failed", "job": "1", "kind": "annotations", "message": ""}',
        '{"event": "failed", "job": "1", "kind": "NoSuchError", "message": ""}',
        '{"event": "progress", "job": "1"}',
        '{"event": "finished", "job": "1"}',
        '{"event": "finished", "job": "1", "result": {"task": "no-such-task"}}',
    ],
)
def test_messages_that_are_none(worker, line):
    (worker.folder.parent / "says").write_text(line, encoding="utf-8")
    job = run(worker, segmentation())
    assert isinstance(job.error, WorkerError)
    assert "said what is not a message" in str(job.error)
    assert_next_job_runs(worker)


def test_stopped_process_is_ended(worker):
    assert_next_job_runs(worker)
    pid = worker.client.pid
    os.kill(pid, signal.SIGSTOP)
    # More than a pipe takes.
    job = run(worker, Question("echo", {"value": "x" * 2**20}))
    assert "gave no sign of life" in str(job.error)
    assert not is_alive(pid)
    assert_next_job_runs(worker)


def test_idle_process_is_not_watched(worker):
    assert_next_job_runs(worker)
    pid = worker.client.pid
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 1.0
    worker.wait(lambda: time.monotonic() > deadline)
    os.kill(pid, signal.SIGCONT)
    assert_next_job_runs(worker)
    assert worker.client.pid == pid


def test_removed_private_folder_is_made_again(worker):
    assert_next_job_runs(worker)
    (private,) = worker.folder.iterdir()
    shutil.rmtree(private)
    # The process was reached, and refused the model.
    assert str(run(worker, segmentation()).error) == "No such model."
    assert private.stat().st_mode & 0o077 == 0


def test_removed_temporary_folder_is_named(worker):
    assert_next_job_runs(worker)
    shutil.rmtree(worker.folder)
    job = run(worker, segmentation())
    assert isinstance(job.error, OutputError)
    assert f"The folder {worker.folder} cannot be used" in str(job.error)
    worker.folder.mkdir()
    assert str(run(worker, segmentation()).error) == "No such model."


def test_result_whose_files_are_gone(worker, tmp_path):
    volume = {"file": str(tmp_path / "gone.raw"), "dtype": "<i2", "shape": [1, 2, 2, 2], "matrix": [], "name": ""}
    result = {"task": "segmentation", "provenance": {}, "labels": volume}
    (worker.folder.parent / "says").write_text(
        f'{{"event": "finished", "job": "1", "result": {result}}}'.replace("'", '"')
    )
    job = run(worker, segmentation())
    assert job.state is JobState.FAILED
    assert_next_job_runs(worker)


def left_behind(folder, start=HIDDEN):
    """Return a file of a process that is dead."""
    code = f"import sys; from NNMambaLib.runtime.leftovers import temporary_prefix; print(temporary_prefix({start!r}))"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    prefix = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
    return folder / f"{prefix}x"


def test_voxels_of_dead_clients_are_removed_and_no_others(worker):
    dead = left_behind(worker.folder, "nnmamba-")
    (dead / "job-1").mkdir(parents=True)
    (dead / "job-1" / "input-0.raw").touch()
    own = worker.folder / f"{temporary_prefix('nnmamba-')}x"
    other = worker.folder / "nnmamba-0123abcd-1-x"
    for folder in (own, other):
        folder.mkdir()
    assert_next_job_runs(worker)
    assert not dead.exists()
    assert own.exists()
    assert other.exists()


def test_leftovers_are_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    link = left_behind(tmp_path)
    link.symlink_to(kept)
    remove_leftovers(tmp_path)
    assert not link.is_symlink()
    assert (kept / "file").exists()
