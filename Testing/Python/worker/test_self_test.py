"""The self-test runs models one after the other in the worker, and can be ended."""

import pytest

from NNMambaLib.errors import VolumeError
from NNMambaLib.inference.tasks import TASKS
from NNMambaLib.models.package import open_package
from NNMambaLib.results import LandmarksResult
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.worker.self_test import SelfTest, Verdict


@pytest.fixture(scope="session")
def tiny_packages(tmp_path_factory):
    """A model for each task, coarse enough for a second or two on the whole sample volume."""
    folder = tmp_path_factory.mktemp("tiny")
    return [
        write_random_package(
            folder / task, random_manifest(task, outputs=3, base_width=4, patch=(32, 32, 32), spacing=(8.0, 8.0, 8.0))
        )
        for task in ("segmentation", "landmarks", "classification")
    ]


def run(worker, packages, on_changed=lambda progress: None):
    test = SelfTest(worker.client, on_changed, packages)
    test.start()
    worker.wait(lambda: not test.running)
    return {trial.package.manifest.task: trial for trial in test.trials}


def test_every_model_is_run_and_its_main_result_told(worker, tiny_packages):
    heard = []
    trials = run(worker, tiny_packages, heard.append)
    assert [trial.verdict for trial in trials.values()][::2] == [Verdict.PASSED, Verdict.PASSED]
    assert "of 2 labels" in trials["segmentation"].outcome
    assert "of 3 landmarks" in trials["landmarks"].outcome
    assert trials["classification"].outcome.startswith("random: class ")
    assert all(trial.seconds > 0 for trial in trials.values())
    assert None in heard
    assert any(progress is not None for progress in heard)


def test_damaged_model_fails_and_the_next_one_runs(worker, tiny_packages, tmp_path):
    manifest = tiny_packages[2].manifest
    broken = write_random_package(tmp_path / "broken", manifest)
    (broken.path / "weights.safetensors").write_bytes(b"damaged")
    test = SelfTest(worker.client, lambda progress: None, [open_package(broken.path), tiny_packages[2]])
    test.start()
    worker.wait(lambda: not test.running)
    assert [trial.verdict for trial in test.trials] == [Verdict.FAILED, Verdict.PASSED]
    assert "altered or damaged" in test.trials[0].outcome


def test_cancelled_test_begins_no_other_model(worker, tiny_packages):
    test = SelfTest(worker.client, lambda progress: None, tiny_packages)
    test.start()
    worker.transport.pump(0.1)
    test.cancel()
    worker.wait(lambda: not test.running)
    assert {trial.verdict for trial in test.trials} == {Verdict.CANCELLED}


def test_sample_volume_that_cannot_be_read_is_told_at_once(worker, tiny_packages, monkeypatch, tmp_path):
    monkeypatch.setattr("NNMambaLib.worker.self_test.sample_volume", lambda: tmp_path / "none.nii.gz")
    with pytest.raises(VolumeError):
        SelfTest(worker.client, lambda progress: None, tiny_packages)


def test_nothing_found_is_a_failure():
    found, text = TASKS["landmarks"].describe(LandmarksResult((), None))
    assert not found
    assert text == "0 of 0 landmarks"
