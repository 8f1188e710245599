"""Which cases a batch's inputs are, and which of them a job of a cluster gets."""

import numpy as np
import pytest

from NNMambaLib.batch.find_cases import find_cases
from NNMambaLib.batch.parts import part_of
from NNMambaLib.batch.plan import Case
from NNMambaLib.errors import OutputError, VolumeError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a volume")


def found(inputs, channels=1):
    return {case.name: [path.rsplit("/", 1)[-1] for path in case.channels] for case in find_cases(inputs, channels)}


def test_volumes_of_a_folder_are_cases_and_apples_notes_are_not(tmp_path):
    touch(tmp_path, "b.nii.gz", "a.nrrd", "._a.nrrd", "notes.txt", ".hidden.nii")
    assert found([str(tmp_path)]) == {"a": ["a.nrrd"], "b": ["b.nii.gz"]}


def test_numbered_volumes_are_the_channels_of_a_case(tmp_path):
    touch(tmp_path, "p1_0001.nii.gz", "p1_0000.nii.gz", "p2_0000.nii.gz", "p2_0001.nii.gz")
    assert found([str(tmp_path)], 2) == {
        "p1": ["p1_0000.nii.gz", "p1_0001.nii.gz"],
        "p2": ["p2_0000.nii.gz", "p2_0001.nii.gz"],
    }
    with pytest.raises(VolumeError, match="The case p1 has 2 volumes and the model takes 1"):
        find_cases([str(tmp_path)], 1)
    (tmp_path / "p1_0000.nii.gz").unlink()
    with pytest.raises(VolumeError, match="The case p1 has the channels 0001 alone"):
        find_cases([str(tmp_path)], 2)


def test_patterns_and_folders_of_dicom_series(tmp_path):
    touch(tmp_path, "study/a/IM1", "study/a/IM2", "study/b/IM1.dcm", "flat/x.nii", "flat/y.nii")
    assert found([str(tmp_path / "flat" / "x*")]) == {"x": ["x.nii"]}
    assert found([str(tmp_path / "study")]) == {"a": ["a"], "b": ["b"]}
    with pytest.raises(VolumeError, match=r"There is no .*z\*: check the path, or the pattern"):
        find_cases([str(tmp_path / "z*")], 1)


def test_a_table_names_cases_and_channels(tmp_path):
    (tmp_path / "cases.csv").write_text("\ufeffcase,t1,t2\nanna, x/1.nii ,x/2.nii\n\n", encoding="utf-8")
    (case,) = find_cases([str(tmp_path / "cases.csv")], 2)
    assert case == Case("anna", (str(tmp_path / "x/1.nii"), str(tmp_path / "x/2.nii")))
    (tmp_path / "cases.csv").write_text("case;t1\nanna;1.nii\n", encoding="utf-8")
    with pytest.raises(VolumeError, match="It seems to be separated by semicolons"):
        find_cases([str(tmp_path / "cases.csv")], 1)
    (tmp_path / "cases.csv").write_text("case,t1\nanna\n", encoding="utf-8")
    with pytest.raises(VolumeError, match="has 2 columns and row 2 does not fill them"):
        find_cases([str(tmp_path / "cases.csv")], 1)


@pytest.mark.parametrize("name", ["../up", "a/b", "", "con:", "x" * 200, ".hidden", "a\tb"])
def test_names_that_files_cannot_have_are_refused(tmp_path, name):
    (tmp_path / "cases.csv").write_text(f"case,t1\n{name},1.nii\n", encoding="utf-8")
    with pytest.raises((OutputError, VolumeError), match=r"cannot give its name to files|does not fill them"):
        find_cases([str(tmp_path / "cases.csv")], 1)


def test_two_cases_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "a/x.nii", "b/x.nii")
    with pytest.raises(VolumeError, match="Two cases are called x"):
        find_cases([str(tmp_path / "a"), str(tmp_path / "b")], 1)


CASES = [Case(f"c{number}", ()) for number in range(10)]


@pytest.mark.parametrize(
    "environments",
    [
        [{"SLURM_ARRAY_TASK_ID": str(n), "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "2"} for n in range(3)],
        [
            {"SGE_TASK_ID": str(n), "SGE_TASK_FIRST": "2", "SGE_TASK_LAST": "6", "SGE_TASK_STEPSIZE": "2"}
            for n in (2, 4, 6)
        ],
    ],
)
def test_the_jobs_of_an_array_share_all_cases(environments):
    parts = [part_of(CASES, None, environment) for environment in environments]
    assert sorted(case.name for part in parts for case in part) == [case.name for case in CASES]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert [part_of(CASES, f"{index}/3", {}) for index in (1, 2, 3)] == parts


def test_without_an_array_all_cases_are_one_part():
    assert part_of(CASES, None, {"SGE_TASK_ID": "undefined"}) == CASES
    with pytest.raises(OutputError, match=r"give --part \$PBS_ARRAY_INDEX/N"):
        part_of(CASES, None, {"PBS_ARRAY_INDEX": "3"})


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "1/x", "-1/3", "1/99999999", np.str_("")])
def test_a_part_that_is_none_is_refused(part):
    if part:
        with pytest.raises(OutputError, match="is not one: give I/N"):
            part_of(CASES, part, {})
