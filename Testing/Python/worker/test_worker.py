"""The engine as a process: same results, progress, Cancel, and whatever can go wrong with a process."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.phantoms import bodies, bright_points, grid_matrix, oblique_rotation, sample
from NNMambaLib.engine import Engine
from NNMambaLib.errors import Cancelled, ModelError, OutputError, VolumeError, WorkerError
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.worker.job import JobRequest, JobState
from NNMambaLib.worker.subprocess_transport import run_in_worker
from worker.conftest import WorkerUnderTest, is_alive

_SHAPE = (32, 64, 32)
_MATRIX = grid_matrix("LIP", (3, 2.5, 3), _SHAPE, oblique_rotation())
# Of the tiles' distance: so many tiles that a job is still running when it is interrupted.
_MANY_TILES = {"step": 0.02}


@pytest.fixture(scope="module")
def phantom():
    return sample(bodies, _SHAPE, _MATRIX)


@pytest.fixture
def request_(phantom, segmentation_package):
    return JobRequest("segmentation", str(segmentation_package.path), [phantom], device="cpu", backend="torch")


@pytest.fixture
def long_request(phantom, fine_segmentation_package):
    path = str(fine_segmentation_package.path)
    return JobRequest("segmentation", path, [phantom], _MANY_TILES, device="cpu", backend="torch")


def start(worker, request):
    """Submit a job and wait until its network runs."""
    job = worker.client.submit(request)
    worker.wait(lambda: job.progress is not None and job.progress.stage == "Segmenting")
    assert job.progress.total > 100
    return job


def assert_next_job_succeeds(worker, request):
    assert run_in_worker(worker.client, worker.transport, request).labels.array.any()


# --- results -----------------------------------------------------------------------------------------------------


def test_segmentation_is_the_engines_own(warm_worker, phantom, segmentation_package):
    options = {"probabilities": True, "uncertainty": True}
    request = JobRequest("segmentation", str(segmentation_package.path), [phantom], options, "cpu", "torch")
    found = run_in_worker(warm_worker.client, warm_worker.transport, request)
    expected = Engine("cpu", "torch").segment(phantom, segmentation_package, **options)
    for name in ("labels", "probabilities", "uncertainty"):
        np.testing.assert_array_equal(getattr(found, name).array, getattr(expected, name).array)
        assert getattr(found, name).array.dtype == getattr(expected, name).array.dtype
        np.testing.assert_array_equal(getattr(found, name).matrix, phantom.matrix)
    assert found.volumes_ml == expected.volumes_ml
    assert found.label_definitions == expected.label_definitions
    assert found.provenance.weights_sha256 == expected.provenance.weights_sha256
    assert found.provenance.notices == expected.provenance.notices


def test_landmarks_are_the_engines_own(warm_worker, landmarks_package):
    matrix = grid_matrix("RAS", (3, 3, 3), _SHAPE)
    volumes = [sample(bright_points, _SHAPE, matrix).array[[channel]] for channel in range(3)]
    volumes[2] = np.zeros_like(volumes[2])
    volumes = [Volume(array, matrix, f"channel {number}") for number, array in enumerate(volumes)]
    request = JobRequest("landmarks", str(landmarks_package.path), volumes, device="cpu", backend="torch")
    found = run_in_worker(warm_worker.client, warm_worker.transport, request)
    assert found.landmarks == Engine("cpu", "torch").detect_landmarks(volumes, landmarks_package).landmarks
    assert [landmark.found for landmark in found.landmarks] == [True, True, False]


def test_classification_is_the_engines_own(warm_worker, phantom, classification_package):
    request = JobRequest("classification", str(classification_package.path), [phantom], device="cpu", backend="torch")
    found = run_in_worker(warm_worker.client, warm_worker.transport, request)
    assert found.predictions == Engine("cpu", "torch").classify(phantom, classification_package).predictions


def test_explanation_is_the_engines_own_and_outlives_the_workers_files(warm_worker, phantom, classification_package):
    options = {"explain": "random"}
    path = str(classification_package.path)
    request = JobRequest("classification", path, [phantom], options, device="cpu", backend="torch")
    found = run_in_worker(warm_worker.client, warm_worker.transport, request)
    expected = Engine("cpu", "torch").classify(phantom, classification_package, **options)
    assert found.predictions == expected.predictions
    assert (found.explanation.target, found.explanation.predicted) == ("random", expected.predictions[0].predicted)
    np.testing.assert_array_equal(found.explanation.volume.array, expected.explanation.volume.array)
    np.testing.assert_array_equal(found.explanation.volume.matrix, phantom.matrix)
    assert found.explanation.volume.array.any()
    assert warm_worker.files() == ["worker.log"]


def test_volume_that_is_not_contiguous_arrives_as_it_is(warm_worker, segmentation_package):
    stored = sample(bodies, (64, 32, 32), grid_matrix("RAS", (6, 6, 6), (64, 32, 32)))
    view = stored.reoriented("PSL")
    assert not view.array.flags.c_contiguous
    path = str(segmentation_package.path)
    found, expected = (
        run_in_worker(
            warm_worker.client, warm_worker.transport, JobRequest("segmentation", path, [volume], {}, "cpu", "torch")
        )
        for volume in (view, stored)
    )
    assert expected.labels.array.any()
    np.testing.assert_array_equal(found.labels.reoriented("RAS").array, expected.labels.array)


# --- one warm process --------------------------------------------------------------------------------------------


def test_jobs_run_in_order_in_one_process(warm_worker, request_):
    ended = []
    jobs = [warm_worker.client.submit(request_, on_finished=lambda result, n=n: ended.append(n)) for n in range(3)]
    pids = set()
    warm_worker.wait(lambda: pids.add(warm_worker.client.pid) or all(job.ended for job in jobs))
    assert ended == [0, 1, 2]
    assert len(pids - {None}) == 1


def test_nothing_starts_before_the_first_job(worker):
    worker.transport.pump(0.2)
    assert worker.client.pid is None
    assert not list(worker.folder.iterdir())


def test_private_folder_is_the_users_alone_and_holds_no_volume_after_the_job(warm_worker, request_):
    assert_next_job_succeeds(warm_worker, request_)
    (folder,) = warm_worker.folder.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert warm_worker.files() == ["worker.log"]


def test_worker_without_work_ends_and_the_next_job_starts_another(tmp_path, request_, quick_python):
    worker = WorkerUnderTest(tmp_path, idle_seconds=0.3, python=quick_python)
    assert_next_job_succeeds(worker, request_)
    pid = worker.client.pid
    worker.wait(lambda: worker.client.pid is None)
    assert not is_alive(pid)
    assert "Fatal" not in worker.client.log
    assert not list(tmp_path.iterdir())
    assert_next_job_succeeds(worker, request_)
    worker.client.close()


def test_closing_leaves_no_process_and_no_file(plain_worker, long_request):
    start(plain_worker, long_request)
    pid = plain_worker.client.pid
    plain_worker.client.close()
    assert not is_alive(pid)
    assert not list(plain_worker.folder.iterdir())


# --- cancelling --------------------------------------------------------------------------------------------------


def test_cancel_takes_effect_at_the_next_tile_and_the_worker_stays(warm_worker, request_, long_request):
    job = start(warm_worker, long_request)
    pid, tile = warm_worker.client.pid, job.progress.done
    job.cancel()
    warm_worker.wait(lambda: job.ended)
    assert job.state is JobState.CANCELLED
    assert isinstance(job.error, Cancelled)
    assert job.progress.done <= tile + 30
    assert_next_job_succeeds(warm_worker, request_)
    assert warm_worker.client.pid == pid


def test_job_cancelled_at_once_never_runs(worker, request_):
    job = worker.client.submit(request_)
    job.cancel()
    assert job.state is JobState.CANCELLED
    worker.transport.pump(0.2)
    assert worker.client.pid is None


def test_waiting_job_is_cancelled_without_harm_to_the_running_one(warm_worker, request_):
    first, second = warm_worker.client.submit(request_), warm_worker.client.submit(request_)
    second.cancel()
    warm_worker.wait(lambda: first.ended)
    assert (first.state, second.state) == (JobState.FINISHED, JobState.CANCELLED)


def test_second_cancel_ends_the_process(worker, request_, long_request):
    job = start(worker, long_request)
    pid = worker.client.pid
    # A worker that does not listen.
    os.kill(pid, signal.SIGSTOP)
    job.cancel()
    worker.transport.pump(0.2)
    assert not job.ended
    job.cancel()
    worker.wait(lambda: job.ended)
    assert job.state is JobState.CANCELLED
    assert not is_alive(pid)
    assert_next_job_succeeds(worker, request_)


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_killed_worker_costs_its_job_alone(plain_worker, request_, long_request):
    job = start(plain_worker, long_request)
    waiting = plain_worker.client.submit(request_)
    os.kill(plain_worker.client.pid, signal.SIGKILL)
    plain_worker.wait(lambda: job.ended and waiting.ended)
    assert job.state is JobState.FAILED
    assert isinstance(job.error, WorkerError)
    assert "killed by signal 9" in str(job.error)
    assert waiting.state is JobState.FINISHED
    assert plain_worker.files() == ["worker.log"]


def test_errors_keep_their_kind_and_sentence(warm_worker, request_, phantom, landmarks_package):
    with pytest.raises(ModelError, match="is for landmarks, not for segmentation"):
        run_in_worker(
            warm_worker.client,
            warm_worker.transport,
            JobRequest("segmentation", str(landmarks_package.path), [phantom]),
        )
    flat = Volume(np.full((1, 8, 8, 8), np.nan, np.float32), np.eye(4), "broken")
    with pytest.raises(VolumeError, match="broken"):
        run_in_worker(warm_worker.client, warm_worker.transport, JobRequest("segmentation", request_.model, [flat]))
    assert_next_job_succeeds(warm_worker, request_)


def test_unexpected_error_is_one_sentence_and_the_worker_stays(warm_worker, request_, phantom):
    bad = JobRequest("segmentation", request_.model, [phantom], {"no_such_option": 1}, "cpu", "torch")
    with pytest.raises(WorkerError, match=r"did not expect.*no_such_option"):
        run_in_worker(warm_worker.client, warm_worker.transport, bad)
    pid = warm_worker.client.pid
    assert_next_job_succeeds(warm_worker, request_)
    assert warm_worker.client.pid == pid


@pytest.fixture
def small_files():
    """No file may have more than 100 kB, which is refused as a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_while_handing_over(worker, request_, small_files):
    job = worker.client.submit(request_)
    worker.wait(lambda: job.ended)
    assert isinstance(job.error, OutputError)
    assert f"temporary folder {worker.folder} is full" in str(job.error)
    assert not [name for name in worker.files() if name.endswith(".raw")]


def test_full_disk_while_handing_back(plain_worker, request_, phantom, small_files):
    small = Volume(np.round(phantom.array).astype(np.uint8), phantom.matrix, "small")
    request = JobRequest("segmentation", request_.model, [small], {"probabilities": True}, "cpu", "torch")
    job = plain_worker.client.submit(request)
    plain_worker.wait(lambda: job.ended)
    assert isinstance(job.error, OutputError)
    assert f"temporary folder {plain_worker.folder} is full" in str(job.error)
    assert not [name for name in plain_worker.files() if name.endswith(".raw")]


def test_disk_without_room_is_found_before_anything_is_written(worker, request_, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=r"has 0 MB free and the volume needs \d+"):
        run_in_worker(worker.client, worker.transport, request_)


def test_interpreter_that_is_not_there(tmp_path, request_):
    worker = WorkerUnderTest(tmp_path, python=str(tmp_path / "no-python"))
    with pytest.raises(WorkerError, match="cannot be started"):
        run_in_worker(worker.client, worker.transport, request_)
    worker.client.close()
    assert not list(tmp_path.iterdir())


_CALLER = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from NNMambaLib.volumes.volume import Volume
    from NNMambaLib.worker.client import JobRequest, WorkerClient
    from NNMambaLib.worker.subprocess_transport import SubprocessTransport

    transport = SubprocessTransport()
    client = WorkerClient(transport, temporary_folder=sys.argv[1], python=sys.argv[3])
    volume = Volume(np.zeros((1, 32, 64, 32), np.float32), np.diag([3.0, 3.0, 3.0, 1.0]))
    job = client.submit(JobRequest("segmentation", sys.argv[2], [volume], {"step": 0.02}, "cpu", "torch"))
    while job.progress is None or job.progress.stage != "Segmenting":
        transport.pump(0.05)
    print(client.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_worker_ends_with_its_caller_and_leaves_no_file(fine_segmentation_package, quick_python, how):
    with tempfile.TemporaryDirectory() as folder:
        package = str(fine_segmentation_package.path)
        command = [sys.executable, "-c", textwrap.dedent(_CALLER), folder, package, quick_python]
        library = Path(__file__).parents[3] / "NNMamba"
        environment = {**os.environ, "PYTHONPATH": str(library)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as caller:
            pid = int(caller.stdout.readline())
            caller.send_signal(how)
        deadline = time.monotonic() + 30
        while is_alive(pid) or list(Path(folder).iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_caller_needs_no_torch():
    code = (
        "import sys, NNMambaLib.worker.client, NNMambaLib.worker.subprocess_transport;"
        "sys.exit([m for m in ('torch', 'numba', 'safetensors') if m in sys.modules] or 0)"
    )
    library = Path(__file__).parents[3] / "NNMamba"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(library)})
