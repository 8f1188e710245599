"""What goes wrong around a batch: full disks, files in the way, inputs that change, a second batch, Ctrl-C."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from helpers.batch_inputs import command, log_of, start, write_input
from helpers.full_disk import largest_file
from NNMambaLib import cli
from NNMambaLib.batch import run_case
from NNMambaLib.batch.record import State, read_record, state_of
from NNMambaLib.batch.run_case import CaseRunner

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


@posix
def test_on_a_full_disk_a_case_fails_and_what_was_there_stays(plan, case, tmp_path):
    assert CaseRunner(plan).run(case).status == "done"
    before = (tmp_path / "out/case0.nii.gz").read_bytes()
    write_input(Path(case.channels[0]), 8)
    runner = CaseRunner(plan)
    with largest_file(2000):
        outcome = runner.run(case)
    assert outcome.status == "failed"
    assert "File too large" in outcome.error
    assert (tmp_path / "out/case0.nii.gz").read_bytes() == before
    assert not list((tmp_path / "out").rglob(".nnmamba-*"))
    assert runner.run(case).status == "done"


@posix
def test_where_not_even_the_record_can_be_written_the_outcome_says_so(plan, case):
    runner = CaseRunner(plan)
    with largest_file(0):
        outcome = runner.run(case)
    assert outcome.status == "failed"
    assert "File too large" in outcome.error
    assert "Its record could not be written either" in outcome.error
    assert state_of(plan, case)[0] is State.MISSING


def test_a_file_where_the_cases_folder_should_be_fails_the_case_alone(plan, case, tmp_path):
    (tmp_path / "out/cases").mkdir(parents=True)
    (tmp_path / "out/cases/case0").write_text("in the way", encoding="utf-8")
    outcome = CaseRunner(plan).run(case)
    assert outcome.status == "failed"
    assert "cases/case0" in outcome.error
    assert (tmp_path / "out/cases/case0").read_text(encoding="utf-8") == "in the way"


def test_a_file_where_the_output_should_be_ends_the_batch_before_it_begins(inputs, model, tmp_path, capsys):
    (tmp_path / "out").write_text("in the way", encoding="utf-8")
    assert cli.main(command(inputs, model, tmp_path / "out")) == 1
    assert str(tmp_path / "out") in capsys.readouterr().err


def test_an_input_that_changes_while_it_is_read_fails_and_is_done_next_time(plan, case, monkeypatch):
    really = run_case.read_volume

    def read_and_change(path, **options):
        volume = really(path, **options)
        write_input(Path(path), 5)
        os.utime(path, ns=(1, 1))
        return volume

    monkeypatch.setattr(run_case, "read_volume", read_and_change)
    outcome = CaseRunner(plan).run(case)
    assert outcome.status == "failed"
    assert "changed while it was read" in outcome.error
    monkeypatch.undo()
    assert CaseRunner(plan).run(case).status == "done"


def test_an_unexpected_error_is_the_cases_alone_and_its_log_has_it(plan, case, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(run_case, "read_volume", fail)
    outcome = CaseRunner(plan).run(case)
    assert (outcome.status, "RuntimeError: a fault of ours" in outcome.error) == ("failed", True)
    assert "Traceback" in log_of(plan.output, "case0")
    assert read_record(plan, "case0")["error"] == outcome.error


def test_two_batches_on_one_folder_share_the_cases(model, tmp_path):
    inputs, output = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for number in range(16):
        write_input(inputs / f"case{number:02}.nrrd", number)
    both = [start(command(inputs, model, output, "--workers", "1", "--format", ".nrrd")) for _ in range(2)]
    assert [batch.communicate(timeout=120) and batch.returncode for batch in both] == [0, 0]
    for number in range(16):
        assert log_of(output, f"case{number:02}").count(" done\n") == 1


@posix
def test_ctrl_c_ends_the_batch_and_its_processes_and_the_rest_is_done_next_time(model, tmp_path):
    inputs, output = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for number in range(30):
        write_input(inputs / f"case{number:02}.nrrd", number)
    batch = start(command(inputs, model, output, "--workers", "1", "--format", ".nrrd"))
    began = time.monotonic()
    while time.monotonic() - began < 60 and not list(output.glob("*.nrrd")):
        time.sleep(0.02)
    batch.send_signal(signal.SIGINT)
    _, said = batch.communicate(timeout=30)
    assert batch.returncode == 130
    assert b"Interrupted" in said
    assert 1 <= len(list(output.glob("*.nrrd"))) < 30
    assert not list(output.glob(".nnmamba-*"))
