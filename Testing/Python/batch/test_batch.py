"""Many cases: the truth is on disk, nothing is done twice, and no case takes another down with it."""

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.batch_inputs import command, log_of, start, write_input
from NNMambaLib import cli
from NNMambaLib.batch.plan import Case, Step
from NNMambaLib.batch.record import State, read_record, state_of
from NNMambaLib.batch.run_case import CaseRunner
from NNMambaLib.batch.summary import audit
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.files import read_volume

# --- one case -----------------------------------------------------------------------------------------------------


def test_a_case_is_done_when_its_files_and_its_record_are_there(plan, case, tmp_path):
    assert state_of(plan, case) == (State.MISSING, "it has no record")
    outcome = CaseRunner(plan).run(case)
    assert (outcome.status, outcome.error) == ("done", None)
    assert state_of(plan, case) == (State.DONE, "")
    record = read_record(plan, "case0")
    assert [entry["path"] for entry in record["outputs"]] == ["case0.nii.gz", "uncertainty/case0.nrrd"]
    assert record["inputs"][0]["path"] == case.channels[0]
    assert record["results"][""]["provenance"]["model"] == "random-seg-css"
    assert read_volume(tmp_path / "out/case0.nii.gz").grid.shape == (16, 16, 16)
    # Done by another meanwhile: nothing is run again.
    assert CaseRunner(plan).run(case).status == "before"
    assert log_of(plan.output, "case0").count(" done\n") == 1


def test_a_record_is_true_only_with_its_files(plan, case, tmp_path):
    CaseRunner(plan).run(case)
    (tmp_path / "out/uncertainty/case0.nrrd").unlink()
    assert state_of(plan, case) == (State.MISSING, "uncertainty/case0.nrrd is missing")
    (tmp_path / "out/cases/case0/case.json").write_text('{"case": "case0", "sta', encoding="utf-8")
    assert state_of(plan, case)[0] is State.MISSING


def test_another_input_of_the_same_size_is_a_change(plan, case):
    runner = CaseRunner(plan)
    runner.run(case)
    path = Path(case.channels[0])
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[4] ^= 1  # the time in gzip's header, which is not looked at
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert state_of(plan, case) == (State.CHANGED, "the input differs")
    assert runner.run(case).status == "done"
    # Copied elsewhere, it is the same.
    moved = Path(shutil.copy(path, path.with_name("moved.nii.gz")))
    assert state_of(plan, Case("case0", (str(moved),))) == (State.DONE, "")


def test_other_settings_and_another_model_are_changes_and_another_device_is_none(plan, case, tmp_path):
    CaseRunner(plan).run(case)
    stepped = replace(plan.steps[0], options={"uncertainty": True, "step": 1.0})
    assert state_of(replace(plan, steps=(stepped,)), case) == (State.CHANGED, "the model or the settings differ")
    manifest = random_manifest("segmentation", outputs=3, base_width=2, patch=(16, 16, 32))
    other = write_random_package(tmp_path / "other", manifest)
    changed = replace(plan, steps=(replace(plan.steps[0], model=str(other.path)),)).with_models()
    assert state_of(changed, case)[0] is State.CHANGED
    assert state_of(replace(plan, device="cuda", backend="numba"), case)[0] is State.DONE


def test_a_result_that_was_edited_is_kept_unless_that_is_allowed(plan, case, tmp_path):
    CaseRunner(plan).run(case)
    edited = tmp_path / "out/case0.nii.gz"
    write_input(edited, 9)
    assert audit(plan, [case])["edited"] == ["case0.nii.gz"]
    content = edited.read_bytes()
    write_input(Path(case.channels[0]), 7)
    outcome = CaseRunner(plan).run(case)
    assert outcome.status == "failed"
    assert "case0.nii.gz was not written by this batch, or was edited since, and is kept" in outcome.error
    assert edited.read_bytes() == content
    assert CaseRunner(replace(plan, overwrite=True)).run(case).status == "done"
    assert edited.read_bytes() != content


def test_a_file_of_somebody_else_is_kept(plan, case, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/case0.nii.gz").write_bytes(b"precious")
    assert CaseRunner(plan).run(case).status == "failed"
    assert (tmp_path / "out/case0.nii.gz").read_bytes() == b"precious"


def test_files_that_a_killed_process_placed_without_a_record_are_its_own(plan, case, tmp_path):
    CaseRunner(plan).run(case)
    (tmp_path / "out/cases/case0/case.json").unlink()
    assert CaseRunner(plan).run(case).status == "done"


def test_an_input_that_is_gone_fails_with_a_sentence_and_is_tried_again(plan, case):
    away = Path(case.channels[0]).rename(Path(case.channels[0]).with_name("away"))
    outcome = CaseRunner(plan).run(case)
    assert outcome.status == "failed"
    assert "cannot be opened (No such file or directory)" in outcome.error
    assert state_of(plan, case) == (State.FAILED, outcome.error)
    away.rename(case.channels[0])
    assert CaseRunner(plan).run(case).status == "done"


def test_a_case_that_another_batch_is_at_is_left_to_it(plan, case):
    runner = CaseRunner(plan)
    opened = runner.read(case)
    assert CaseRunner(plan).run(case).status == "elsewhere"
    runner.compute(opened)
    assert runner.write(opened).status == "done"


def test_models_of_a_pipeline_run_on_a_volume_that_is_read_once(model, plan, case, tmp_path):
    first = replace(plan.steps[0], name="first")
    second = Step("second", "segmentation", str(model.path), {}, {"output": ".nrrd"})
    both = replace(plan, steps=(first, second)).with_models()
    assert CaseRunner(both).run(case).status == "done"
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("case0.n*")) == [
        "first/case0.nii.gz",
        "first/uncertainty/case0.nrrd",
        "second/case0.nrrd",
    ]


def test_audit_names_what_is_missing_changed_and_stray(plan, case, inputs):
    CaseRunner(plan).run(case)
    (Path(plan.output) / "notes.txt").write_text("mine", encoding="utf-8")
    missing = Case("case1", (str(inputs / "case1.nii.gz"),))
    found = audit(plan, [case, missing])
    assert found["counts"] == {"done": 1, "failed": 0, "missing": 1, "changed": 0}
    assert found["cases"] == {"case1": {"state": "missing", "reason": "it has no record"}}
    assert found["stray"] == ["notes.txt"]


# --- many cases, in processes -----------------------------------------------------------------------------------------


def test_command_does_all_then_nothing_then_what_changed(inputs, model, tmp_path, capsys):
    output, report = tmp_path / "out", tmp_path / "report.json"
    (inputs / "broken.nii.gz").write_bytes(b"nothing")
    assert cli.main(command(inputs, model, output, "--json", str(report))) == 1
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (found["success"], found["cases"], found["done"], list(found["failed"])) == (False, 4, 3, ["broken"])
    table = (output / "summary.csv").read_text(encoding="utf-8").splitlines()
    assert table[0].startswith("case,status,error,notices,doubt,label 1 (mL),label 2 (mL)")
    assert [line.split(",")[:2] for line in table[1:]] == [
        ["broken", "failed"], ["case0", "done"], ["case1", "done"], ["case2", "done"]
    ]  # fmt: skip
    write_input(inputs / "broken.nii.gz", 5)
    written = (output / "case1.nii.gz").stat().st_mtime_ns
    assert cli.main(command(inputs, model, output)) == 0
    assert "4 cases, 3 of them done before." in capsys.readouterr().err
    assert (output / "case1.nii.gz").stat().st_mtime_ns == written
    assert cli.main(command(inputs, model, output, "--audit")) == 0
    assert "done     4" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_nothing_is_lost_or_done_twice_however_often_all_is_killed(model, tmp_path):
    inputs, output = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for number in range(20):
        write_input(inputs / f"case{number:02}.nrrd", number)
    generator = np.random.default_rng(0)
    for _ in range(2):
        batch = start(command(inputs, model, output, "--workers", "1"))
        began = time.monotonic()
        while time.monotonic() - began < 60 and not list(output.glob("*.nii.gz")):
            time.sleep(0.05)
        time.sleep(generator.uniform(0, 0.5))
        batch.send_signal(signal.SIGKILL)
        batch.wait()
    batch = start(command(inputs, model, output, "--workers", "1"))
    batch.communicate(timeout=120)
    assert batch.returncode == 0
    for number in range(20):
        # A process that was killed between the record and its line in the log has done the case without saying so.
        assert log_of(output, f"case{number:02}").count(" done\n") <= 1
        assert (output / f"case{number:02}.nii.gz").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_case_that_kills_its_process_fails_alone_and_is_named(inputs, model, tmp_path):
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "sitecustomize.py").write_text(
        "import os, pathlib\n"
        "opened = pathlib.Path.open\n"
        "def deadly(self, *given, **named):\n"
        "    if self.name == 'case1.nii.gz' and 'in' in self.parts: os.kill(os.getpid(), 9)\n"
        "    return opened(self, *given, **named)\n"
        "pathlib.Path.open = deadly\n",
        encoding="utf-8",
    )
    batch = start(command(inputs, model, tmp_path / "out", "--workers", "1"), poison)
    _, said = batch.communicate(timeout=120)
    assert batch.returncode == 1
    assert b"case1 failed: Its process was killed twice (signal 9; out of memory?)" in said
    for name in ("case0", "case2"):
        assert log_of(tmp_path / "out", name).count(" done\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--model", "missing"], 1, "There is no model 'missing'"),
        (["--part", "3/2"], 1, "The part '3/2' is not one"),
        (["--device", "tpu"], 3, "The device 'tpu' cannot be used"),
    ],
)
def test_what_cannot_run_ends_in_a_sentence(inputs, model, tmp_path, capsys, arguments, code, sentence):
    assert cli.main([*command(inputs, model, tmp_path / "out"), *arguments]) == code
    assert sentence in capsys.readouterr().err
