"""The diagnostic report tells of the installation and of nobody."""

import getpass
import platform
import socket
import tempfile
from pathlib import Path

import pytest

from NNMambaLib.models.catalogue import bundled_packages
from NNMambaLib.support.anonymize import without_private
from NNMambaLib.support.diagnostics import diagnostic_report
from NNMambaLib.support.setup_check import read_needs

MACHINE = {
    "versions": {"torch": "2.13.0+cu130", "mamba-ssm": "not installed"},
    "devices": {"cpu": "x86_64, 4 threads"},
    "unavailable_devices": {"cuda": "no driver"},
    "scan_backends": {"mamba-ssm": "it needs a GPU", "numba": None},
    "scan_backend": "numba",
    "causal_conv1d": "it is not installed",
    "folded_networks": None,
    "bfloat16_convolutions": "this processor does not compute in it",
}


def report(**changes):
    arguments = {"application": "3D Slicer 5.12", "needs": [], "machine": MACHINE, "worker": "Idle"}
    return diagnostic_report(**{**arguments, "last_error": "", "log": "", **changes})


@pytest.fixture
def somebody(tmp_path, monkeypatch):
    """A home folder and a user."""
    home = tmp_path / "home" / "Jörg M."
    home.mkdir(parents=True)
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(getpass, "getuser", lambda: "jmueller")
    monkeypatch.setattr(tempfile, "tempdir", str(home / "AppData" / "Temp"))
    return home


def test_report_names_versions_backends_and_models_with_digests():
    needs = read_needs(Path(__file__).parents[3] / "NNMamba" / "Resources" / "requirements.txt")
    text = report(needs=needs, last_error="It broke.", log="one\ntwo\n")
    for part in ("3D Slicer 5.12", "torch 2.13.0+cu130", "no device cuda: no driver", "mamba-ssm: it needs a GPU"):
        assert part in text
    assert "scan backend numba: in use" in text
    assert "Folded networks: in use" in text
    assert "jsonschema>=4.17: " in text
    assert "It broke." in text
    assert text.endswith("one\ntwo\n")
    for package in bundled_packages():
        assert package.manifest.name in text
        assert package.sha256 in text


def test_only_the_end_of_the_log_is_taken():
    text = report(log="\n".join(f"line {number}" for number in range(100)))
    assert "line 99" in text
    assert "line 59\n" not in text


def test_report_without_the_engine():
    assert "not told" in report(machine="not told")


def test_report_tells_neither_user_nor_volumes(somebody):
    error = f"{somebody}/scans/a.nrrd of Doe^John cannot be read; {somebody.as_uri()} of jmueller, {{JMUELLER}}"
    text = report(
        last_error=error, log=f"File '{tempfile.gettempdir()}/nnmamba-1/x.raw'", private={"Doe^John", "a.nrrd"}
    )
    for private in ("Jörg", "jmueller", "JMUELLER", "Doe^John", "a.nrrd", "J%C3%B6rg"):
        assert private not in text
    for path in ("scans", "AppData", "nnmamba-1"):
        assert path not in text
    assert "<path> of <volume> cannot be read; <path> of <user>, {<user>}" in text


def test_names_are_replaced_as_words_only(somebody):
    assert without_private("a T1 brain, brains T10", {"T1", "brain", "a"}) == "a <volume> <volume>, brains T10"
    assert without_private("nothing private") == "nothing private"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (r"'C:\\Users\\Doe\\x' C:\Users\Doe\x c:/users/doe/x", "'<path>' <path> <path>"),
        (r"\\server\share\x.nii is gone", "<path> is gone"),
        ("'/data/my scans/a b.nrrd' is damaged", "'<path>' is damaged"),
        ("/data/my scans/a b.nrrd is damaged", "<path> is damaged"),
        ("file:///data/J%C3%B6rg/a.nii is damaged", "<path> is damaged"),
        ("~/scans/a.nii and ~doe/a.nii", "<path> and <path>"),
        ('"/x/lib/python3.12/site-packages/torch/nn.py"', '"<path>/python3.12/site-packages/torch/nn.py"'),
        ('"/x/NNMamba/NNMambaLib/engine.py", line 3', '"<path>/NNMamba/NNMambaLib/engine.py", line 3'),
        ("1/2 of 3 / 4 voxels/s, either/or", "1/2 of 3 / 4 voxels/s, either/or"),
    ],
)
def test_paths_are_left_out(text, left):
    assert without_private(text) == left


@pytest.mark.parametrize(
    "spelling",
    [
        "Müller^Jörg", "MÜLLER, JÖRG", "jörg müller", "Jörg_Müller", "MüllerJörg", "Mueller-Joerg", "Muller", "Jörg",
        "M%C3%BCller", r"M\xfcller", r"M\u00fcller", r"M\\xc3\\xbcller", "Mu\u0308ller",
    ],
)  # fmt: skip
def test_patients_in_any_spelling(spelling):
    assert without_private(f"sub-{spelling}.nii.gz, {spelling} was read", ["Müller^Jörg"]) == (
        "sub-<volume>.nii.gz, <volume> was read"
    )


def test_host_is_left_out(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "ws-07.radiology.example.org")
    monkeypatch.setattr(platform, "node", lambda: "WS-07")
    assert without_private("on ws-07.radiology.example.org, WS-07 and WS_07") == "on <host>, <host> and <host>"


def test_user_without_a_home_folder(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert without_private("fine") == "fine"
