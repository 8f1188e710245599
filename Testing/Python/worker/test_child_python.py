"""Interpreters that this program starts run nothing that lies in the working directory."""

import multiprocessing
import os
import sys
import time
from types import SimpleNamespace

import pytest

from NNMambaLib.errors import OutputError
from NNMambaLib.runtime import child_python
from NNMambaLib.runtime.child_python import child_environment, find_program, safe_children
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


def test_processes_that_a_library_starts(hostile_folder):
    before = dict(os.environ)
    with safe_children():
        process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,))
        process.start()
    process.join(30)
    assert process.exitcode == 0
    assert not (hostile_folder / "it-ran").exists()
    assert dict(os.environ) == before


@pytest.mark.skipif(sys.platform == "win32", reason="paths are separated by colons")
def test_search_path_keeps_the_users_folders():
    assert child_environment({"PYTHONPATH": ":/a:.:b:./c:/d"}) == {"PYTHONPATH": "/a:/d", "PYTHONSAFEPATH": "1"}
    assert child_environment({"HOME": "/a"}) == {"HOME": "/a", "PYTHONSAFEPATH": "1"}


@pytest.fixture(params=["", ".EXE"], ids=["as here", "as on Windows"])
def programs(tmp_path, monkeypatch, request):
    """A program in the working directory, and one of the same name in a folder of its own; returns their files."""
    monkeypatch.setattr(child_python, "_WINDOWS", bool(request.param))
    monkeypatch.setenv("PATHEXT", request.param)
    files = []
    for folder in ("data", "bin"):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / f"PythonSlicer{request.param}")
        files[-1].touch(0o755)
    monkeypatch.chdir(tmp_path / "data")
    return files


@pytest.mark.parametrize("before", ["", ".", "../data"])
def test_a_program_of_the_working_directory_is_not_taken(programs, monkeypatch, before):
    monkeypatch.setenv("PATH", os.pathsep.join([before, str(programs[1].parent)]))
    assert find_program("PythonSlicer") == str(programs[1])
    monkeypatch.setenv("PATH", before)
    assert find_program("PythonSlicer") is None


def test_what_is_no_program_is_not_taken(programs, monkeypatch):
    programs[1].chmod(0o644)
    monkeypatch.setenv("PATH", str(programs[1].parent))
    assert find_program("PythonSlicer") is None
