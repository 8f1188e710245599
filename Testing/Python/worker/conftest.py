import contextlib
import os
import time

import pytest

from helpers.intensity_network import write_landmarks_package, write_segmentation_package
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.worker.client import WorkerClient
from NNMambaLib.worker.subprocess_transport import SubprocessTransport


class WorkerUnderTest:
    """A client with its event loop, and the folder that its private folders are made in."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.transport = SubprocessTransport()
        self.client = WorkerClient(self.transport, temporary_folder=folder, **options)

    def wait(self, condition, seconds=120):
        """Handle events until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            self.transport.pump(0.02)

    def files(self):
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


def is_alive(pid):
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        # A child that ended is there until it is waited for.
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.fixture
def worker(tmp_path, quick_python):
    worker = WorkerUnderTest(tmp_path, python=quick_python)
    yield worker
    worker.client.close()


@pytest.fixture
def plain_worker(tmp_path):
    """A worker of an interpreter that imports everything itself, and is the caller's own child."""
    worker = WorkerUnderTest(tmp_path)
    yield worker
    worker.client.close()


@pytest.fixture(scope="module")
def _warm_worker(tmp_path_factory, quick_python):
    worker = WorkerUnderTest(tmp_path_factory.mktemp("warm"), python=quick_python)
    yield worker
    worker.client.close()


@pytest.fixture
def warm_worker(_warm_worker):
    """A worker that the tests of a module share, as each start costs seconds: nothing is left of a test's jobs."""
    yield _warm_worker
    assert not _warm_worker.client.jobs
    assert _warm_worker.files() in ([], ["worker.log"])


@pytest.fixture(scope="session")
def segmentation_package(tmp_path_factory):
    """Voxels so large that a volume of the tests needs few tiles."""
    return write_segmentation_package(tmp_path_factory.mktemp("segmentation"), spacing=(6.0, 6.0, 6.0))


@pytest.fixture(scope="session")
def fine_segmentation_package(tmp_path_factory):
    """Voxels so small that a volume of the tests needs many tiles."""
    return write_segmentation_package(tmp_path_factory.mktemp("fine"))


@pytest.fixture(scope="session")
def landmarks_package(tmp_path_factory):
    return write_landmarks_package(tmp_path_factory.mktemp("landmarks"))


@pytest.fixture(scope="session")
def classification_package(tmp_path_factory):
    manifest = random_manifest("classification", outputs=3, base_width=4, patch=(16, 16, 16), spacing=(12.0,) * 3)
    return write_random_package(tmp_path_factory.mktemp("classification"), manifest)
