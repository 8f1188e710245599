"""What is missing is told from metadata alone, and pip is kept from numpy and SimpleITK."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from NNMambaLib.support import setup_check

ROOT = Path(__file__).parents[3]
REQUIREMENTS = ROOT / "NNMamba" / "Resources" / "requirements.txt"


def pip_refuses(requirement):
    """Tell whether pip, told nothing, finds a constraint against a requirement."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", requirement]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.returncode != 0 and "(constraint)" in result.stdout + result.stderr


def test_requirements_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {str(need.requirement): need.optional for need in setup_check.read_needs(REQUIREMENTS)}
    # The command line alone prints with rich.
    expected = {entry for entry in project["dependencies"] if re.split(r"\W", entry)[0] != "rich"}
    expected -= {entry for entry in expected if re.split(r"\W", entry)[0] in setup_check.FIXED_PACKAGES}
    assert {name for name, optional in asked.items() if not optional} == expected
    assert {name for name, optional in asked.items() if optional} == set(project["optional-dependencies"]["fast"])


def test_every_need_says_what_it_is_for():
    for need in setup_check.read_needs(REQUIREMENTS):
        assert len(need.reason) > 10
        assert "Optional" not in need.reason


def test_missing_old_and_optional_packages(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# reads\npytest>=1\n# counts\nno-such-package-at-all>=2\n# Optional: runs\npytest<1\n"
        "# elsewhere\nother; sys_platform == 'no such system'\n",
        encoding="utf-8",
    )
    needs = setup_check.read_needs(path)
    assert [(need.name, need.reason, need.optional, need.satisfied) for need in needs] == [
        ("pytest", "reads", False, True),
        ("no-such-package-at-all", "counts", False, False),
        ("pytest", "runs", True, False),
    ]
    assert needs[1].installed is None
    assert needs[2].installed == importlib.metadata.version("pytest")
    assert setup_check.missing_needs(needs) == needs[1:]
    assert setup_check.missing_needs(needs, with_optional=False) == needs[1:2]


@pytest.mark.parametrize("line", ["numpy>=1", "simpleitk", "NumPy"])
def test_requirements_may_not_name_what_comes_with_slicer(tmp_path, line):
    (tmp_path / "requirements.txt").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match="comes with Slicer"):
        setup_check.read_needs(tmp_path / "requirements.txt")


def test_constraints_fix_the_installed_versions():
    lines = setup_check.constraints().splitlines()
    assert lines == [f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "SimpleITK")]


def test_package_without_metadata_may_not_be_installed_at_all(monkeypatch):
    monkeypatch.setattr(setup_check, "FIXED_PACKAGES", ("numpy", "no-such-package-at-all"))
    assert setup_check.constraints().splitlines()[1] == "no-such-package-at-all<0"
    with setup_check.pip_held_back():
        assert pip_refuses("no-such-package-at-all")


def test_every_pip_that_is_started_is_held_back(tmp_path, monkeypatch):
    """Even with a folder for temporary files that has spaces and letters that are not ASCII."""
    folder = tmp_path / "Jörg Müller"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    with setup_check.pip_held_back() as path:
        assert path.is_relative_to(folder)
        assert pip_refuses("numpy<2")
        assert pip_refuses("SimpleITK<2")
        assert os.environ["PIP_ONLY_BINARY"] == ":all:"
    assert "PIP_CONSTRAINT" not in os.environ
    assert "PIP_ONLY_BINARY" not in os.environ
    assert not path.exists()


def test_constraints_of_the_users_own_stay(tmp_path, monkeypatch):
    (tmp_path / "own.txt").write_text("pytest==0.0.1\n", encoding="utf-8")
    own = (tmp_path / "own.txt").as_uri()
    monkeypatch.setenv("PIP_CONSTRAINT", own)
    with setup_check.pip_held_back():
        assert os.environ["PIP_CONSTRAINT"].split()[0] == own
        assert pip_refuses("pytest")
    assert os.environ["PIP_CONSTRAINT"] == own


def test_checking_imports_nothing_heavy():
    code = (
        "import sys; from NNMambaLib.support import setup_check; setup_check.read_needs(sys.argv[1]); "
        "print([m for m in ('torch', 'numpy', 'SimpleITK', 'jsonschema', 'numba') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "NNMamba")}
    command = [sys.executable, "-c", code, str(REQUIREMENTS)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == "[]", result.stderr


def test_intel_python_on_a_mac_is_told_of_the_last_pytorch(monkeypatch):
    assert setup_check.platform_notice() is None or sys.platform == "darwin"
    monkeypatch.setattr(setup_check.sys, "platform", "darwin")
    monkeypatch.setattr(setup_check.platform, "machine", lambda: "x86_64")
    assert "2.2.2" in setup_check.platform_notice()
    monkeypatch.setattr(setup_check.platform, "machine", lambda: "arm64")
    assert setup_check.platform_notice() is None
