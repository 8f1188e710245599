"""What the worker is asked beside jobs, and what can be told of it from outside."""

import json

import psutil
import pytest

from helpers.phantoms import bodies, grid_matrix, sample
from NNMambaLib.errors import ModelError, WorkerError
from NNMambaLib.models.catalogue import find_package
from NNMambaLib.support.machine_report import machine_report
from NNMambaLib.worker.client import WorkerState
from NNMambaLib.worker.job import JobRequest
from NNMambaLib.worker.questions import Question
from NNMambaLib.worker.subprocess_transport import run_in_worker

_SHAPE = (32, 32, 32)


def ask(worker, name, **arguments):
    answers = []
    job = worker.client.submit(Question(name, arguments), on_finished=answers.append)
    worker.wait(lambda: job.ended)
    if job.error is not None:
        raise job.error
    return answers[0]


@pytest.fixture
def request_(fine_segmentation_package):
    volume = sample(bodies, _SHAPE, grid_matrix("RAS", (3, 3, 3), _SHAPE), "MRHead of somebody")
    return JobRequest("segmentation", str(fine_segmentation_package.path), [volume], device="cpu", backend="torch")


def test_machine_is_reported_as_the_command_does(worker):
    found, expected = ask(worker, "machine"), machine_report()
    assert found.keys() == expected.keys()
    for key in ("versions", "scan_backends", "unavailable_devices"):
        assert found[key] == expected[key]
    assert found["devices"].keys() == expected["devices"].keys()
    assert json.loads(json.dumps(expected)) == expected


def test_package_is_verified_and_installed(worker, classification_package, tmp_path, monkeypatch):
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path / "models"))
    name = classification_package.manifest.name
    answer = ask(worker, "install", path=str(classification_package.path), replace=False)
    assert answer == {"name": name, "version": "0.0.0", "left_out": []}
    assert find_package(name).path == tmp_path / "models" / name
    with pytest.raises(ModelError, match="installed already"):
        ask(worker, "install", path=str(classification_package.path), replace=False)
    assert isinstance(worker.client.last_error, ModelError)


def test_state_is_told_from_start_to_stop(worker, request_):
    client = worker.client
    assert client.state is WorkerState.STOPPED
    job = client.submit(request_)
    seen = []

    def ended():
        seen.append(client.state)
        return job.ended

    worker.wait(ended)
    assert list(dict.fromkeys(seen)) in (
        [WorkerState.STOPPED, WorkerState.STARTING, WorkerState.WORKING, WorkerState.IDLE],
        [WorkerState.STOPPED, WorkerState.STARTING, WorkerState.IDLE],
    )
    assert client.state is WorkerState.IDLE
    pid = client.pid
    client.stop()
    worker.wait(lambda: client.state is WorkerState.STOPPED)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert client.volume_names == {"MRHead of somebody"}


def test_missing_package_is_told_with_the_remedy_and_can_be_installed_meanwhile(
    plain_worker, request_, tmp_path, monkeypatch
):
    fake = tmp_path / "torch.py"
    fake.write_text("raise ModuleNotFoundError(\"No module named 'torch'\")", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for _ in range(2):
        with pytest.raises(WorkerError, match=r"No module named 'torch'.*set up NNMamba first"):
            run_in_worker(plain_worker.client, plain_worker.transport, request_)
    with pytest.raises(WorkerError, match="set up NNMamba first"):
        ask(plain_worker, "machine")
    pid = plain_worker.client.pid
    assert "No module named 'torch'" in plain_worker.client.log
    fake.unlink()
    assert run_in_worker(plain_worker.client, plain_worker.transport, request_).labels.array.any()
    assert plain_worker.client.pid == pid


def test_log_outlives_the_worker(plain_worker, request_, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import os; os.write(1, b'torch is broken'); os._exit(3)", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkerError, match="torch is broken"):
        run_in_worker(plain_worker.client, plain_worker.transport, request_)
    assert plain_worker.client.state is WorkerState.STOPPED
    assert "torch is broken" in plain_worker.client.log
