"""Pickles from strangers: a thousand that would run code, fill memory or are broken, and none does or is taken."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.hostile_pickles import hostile_pickles, in_torch_file, runs_code
from NNMambaLib.models.imports.checkpoint_files import open_checkpoint
from NNMambaLib.models.imports.pickled_values import RefusedPickle

_CHILD = Path(__file__).parents[1] / "helpers" / "read_hostile_pickles.py"
_COUNT, _SECONDS = 1000, 2.0


@pytest.mark.parametrize("name", list(runs_code("canary")))
def test_the_pickles_of_this_test_do_run_code_elsewhere(tmp_path, name):
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(runs_code(canary)[name]))
    assert canary.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a process's memory")
def test_a_thousand_are_refused_in_little_time_and_memory_and_nothing_runs(tmp_path):
    canary, folder = tmp_path / "canary", tmp_path / "files"
    folder.mkdir()
    names = {}
    for number, (name, content) in enumerate(hostile_pickles(canary, _COUNT)):
        file = folder / f"{number:04}.pkl"
        file.write_bytes(content)
        names[file.name] = name
    assert len(names) == _COUNT
    child = subprocess.run(
        [sys.executable, str(_CHILD), str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    assert found.keys() == names.keys()
    # A refusal names the file; anything else is another error, or no refusal.
    answers = {names[file]: answer for file, (answer, _) in found.items() if not answer.startswith(str(folder))}
    assert answers == {}
    assert {names[file]: seconds for file, (_, seconds) in found.items() if seconds > _SECONDS} == {}
    assert not canary.exists()


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize(
    ("name", "asked_for"),
    [
        ("os.system", f"{os.name}.system"),
        # PyTorch pickles by protocol 2, which has Python 2's names.
        ("builtins.eval", "__builtin__.eval"),
        ("nested", "__builtin__.eval"),
        ("runpy._run_code", "runpy._run_code"),
    ],
)
def test_what_a_file_asks_for_is_named_in_full(tmp_path, name, asked_for, old):
    path = tmp_path / "best.pth"
    path.write_bytes(in_torch_file(runs_code(tmp_path / "canary")[name], old))
    with pytest.raises(RefusedPickle, match=f"asks for {asked_for}, .* nothing of it was run"):
        open_checkpoint(path)
