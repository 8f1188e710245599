"""A task is one class in one file: a fourth runs through engine, worker and command line without any other change."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.regression_task import Regression, RegressionResult
from NNMambaLib import cli
from NNMambaLib.engine import Engine
from NNMambaLib.errors import ModelError
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models.package import open_package
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.support.speed import measure_speed
from NNMambaLib.volumes.files import read_volume, write_volume
from NNMambaLib.volumes.volume import Volume
from NNMambaLib.worker.client import WorkerClient
from NNMambaLib.worker.job import JobRequest
from NNMambaLib.worker.self_test import SelfTest, Verdict
from NNMambaLib.worker.subprocess_transport import SubprocessTransport, run_in_worker


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    monkeypatch.setitem(TASKS, "regression", Regression())


@pytest.fixture
def package(tmp_path):
    manifest = random_manifest("regression", outputs=1, base_width=4, patch=(32, 32, 32), spacing=(3.0, 3.0, 3.0))
    return write_random_package(tmp_path / "age", manifest)


@pytest.fixture
def head(tmp_path):
    voxels = np.random.default_rng(0).normal(size=(1, 30, 36, 32)).astype(np.float32)
    write_volume(Volume(voxels, np.diag([-3.0, -3.0, 3.0, 1.0])), tmp_path / "head.nrrd")
    return tmp_path / "head.nrrd"


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A worker whose process registers the task when it starts."""
    register = (
        "from helpers.regression_task import Regression\n"
        "from NNMambaLib.inference.tasks import TASKS\n"
        "TASKS['regression'] = Regression()\n"
    )
    (tmp_path / "sitecustomize.py").write_text(register, encoding="utf-8")
    tests = Path(__file__).parents[1]
    library = Path(sys.modules["NNMambaLib"].__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, (tmp_path, tests, library))))
    transport = SubprocessTransport()
    client = WorkerClient(transport, temporary_folder=tmp_path)
    yield client, transport
    client.close()


def test_its_package_is_like_any_other(package):
    assert open_package(package.path).manifest == package.manifest
    assert package.manifest.outputs[0] == {"name": "age", "unit": "years", "mean": 50.0, "sd": 10.0}


def test_engine(package, head):
    result = Engine("cpu").run("regression", read_volume(head), package)
    assert isinstance(result, RegressionResult)
    assert result.numbers["age"] != 50.0
    assert result.provenance.model == package.manifest.name


def test_worker_returns_what_the_engine_does(worker, package, head):
    client, transport = worker
    volume = read_volume(head)
    result = run_in_worker(client, transport, JobRequest("regression", str(package.path), [volume], device="cpu"))
    assert result.numbers == Engine("cpu").run("regression", volume, package).numbers


def test_command_line(package, head, tmp_path, capsys):
    output, report = tmp_path / "predictions" / "head.json", tmp_path / "report.json"
    output.parent.mkdir()
    model = ["--model", str(package.path), "--device", "cpu"]
    assert cli.main(["regress", str(head), *model, "--output", str(output), "--json", str(report)]) == 0
    written = json.loads(output.read_text())
    assert json.loads(report.read_text())["numbers"] == written
    assert "age" in capsys.readouterr().out

    (tmp_path / "numbers.csv").write_text(f"case,age\nhead,{written['age'] + 2}\n")
    judged = tmp_path / "judged.json"
    folders = ["--prediction", str(output.parent), "--reference", str(tmp_path)]
    assert cli.main(["evaluate", "regression", *folders, "--output", str(judged)]) == 0
    assert json.loads(judged.read_text())["mean_absolute_error"] == pytest.approx(2)


def test_self_test_and_speed(worker, package, head):
    client, transport = worker
    test = SelfTest(client, lambda progress: None, [package])
    test.start()
    while test.running:
        transport.pump(0.02)
    assert test.trials[0].verdict is Verdict.PASSED, test.trials[0].outcome
    speed = measure_speed(Engine("cpu"), package, (32, 32, 32), (3.0, 3.0, 3.0))
    assert speed.tiles == 1


def test_without_it_the_engine_names_the_tasks_it_has(monkeypatch, package, head):
    monkeypatch.delitem(TASKS, "regression")
    with pytest.raises(ModelError, match="There is no task 'regression': choose segmentation, landmarks"):
        Engine("cpu").run("regression", read_volume(head), package)
