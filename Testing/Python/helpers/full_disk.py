"""A disk without room, for tests that must not need one."""

import os
import resource
from contextlib import contextmanager

import pytest


@contextmanager
def largest_file(size):
    """Let no file of this process grow beyond `size` bytes: writing more fails as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def silent_loss(monkeypatch):
    """A disk that keeps the first part of each file alone and reports success."""

    def keep(part):
        sync = os.fsync

        def fsync(descriptor):
            os.ftruncate(descriptor, int(part * os.fstat(descriptor).st_size))
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    return keep
