"""Interpreters that this program starts run nothing that lies in the working directory."""

import sys
from types import SimpleNamespace

import pytest

from NNMambaLib.errors import OutputError
from NNMambaLib.runtime.child_python import child_environment
from NNMambaLib.scene import rendering
from NNMambaLib.worker.questions import Question


@pytest.fixture(params=["", ":", ".:"])
def hostile_folder(tmp_path, monkeypatch, request):
    """The working directory holds files named as modules are, which leave a mark when they are run."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("queue", "argparse", "json", "vtkmodules", "sitecustomize"):
        (folder / f"{name}.py").write_text("open('it-ran', 'w').close()\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", request.param)
    return folder


def test_worker(worker, hostile_folder, tmp_path):
    worker.client.submit(Question("machine", {}))
    # It is made once everything at the top of the process is imported.
    worker.wait(lambda: "worker.log" in worker.files() or (hostile_folder / "it-ran").exists(), 30)
    assert not (hostile_folder / "it-ran").exists()


def test_rendering_probe(hostile_folder, monkeypatch):
    monkeypatch.setattr(rendering, "slicer_libraries", lambda: SimpleNamespace())
    rendering.render_window_class.cache_clear()
    try:
        rendering.render_window_class()
    except OutputError:
        # This machine cannot draw, or has no VTK: it was tried all the same.
        pass
    finally:
        rendering.render_window_class.cache_clear()
    assert not (hostile_folder / "it-ran").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="paths are separated by colons")
def test_search_path_keeps_the_users_folders():
    assert child_environment({"PYTHONPATH": ":/a:.:./:b"}) == {"PYTHONPATH": "/a:b"}
    assert child_environment({"HOME": "/a"}) == {"HOME": "/a"}
