"""The guards of Testing/Fuzz notice every kind of fault, name its input, and go on; inputs are alike in every run."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "Fuzz"


@pytest.fixture
def children(monkeypatch):
    monkeypatch.syspath_prepend(FUZZ)
    import children

    return children


@pytest.fixture
def child(children):
    # Far less than an input has in earnest: the test waits for it.
    limits = children.Limits(seconds=4.0, memory=200 * 2**20)
    child = children.Child(limits, (Path(__file__).parent,))
    yield child
    child.close()


def test_every_guard_notices_its_planted_fault_and_the_next_input_is_read(child):
    def ends(number):
        return child.try_input("planted", number, seed=0, module="planted_faults").kind

    expected = ["read", "refused", "traceback", "hang", "memory", "crash", "leftover", "leftover"]
    assert [ends(number) for number in range(8)] == expected
    assert ends(8) == "read"


def test_an_input_at_fault_is_kept_after_the_process_died(child, tmp_path):
    assert child.try_input("planted", 5, seed=0, module="planted_faults").kind == "crash"
    child.keep(tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["crash"]


def test_an_input_is_the_same_in_another_process(children, tmp_path):
    families = ("nrrd", "nifti", "dicom", "table")
    for run in ("first", "second"):
        child = children.Child()
        for family in families:
            assert not child.try_input(family, 3, seed=5).is_fault
            child.keep(tmp_path / run / family)
        child.close()
    first, second = (
        {path.relative_to(tmp_path / run): path.read_bytes() for path in (tmp_path / run).rglob("*") if path.is_file()}
        for run in ("first", "second")
    )
    assert first == second
    assert {path.parts[0] for path in first} == set(families)


def test_the_program_takes_families_in_turn_and_ends_with_0():
    families = ["--family", "markups", "--family", "table"]
    ran = subprocess.run(
        [sys.executable, FUZZ / "run.py", "--inputs", "7", "--seed", "3", *families],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [line.split()[:2] for line in ran.stdout.splitlines()[1:]] == [
        ["markups", "4"],
        ["table", "3"],
        ["all", "7"],
    ]
