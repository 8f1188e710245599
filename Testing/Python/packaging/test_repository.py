"""The repository's lists and links agree with its files."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = ("NNMamba", "NNMambaSegment", "NNMambaLandmarks", "NNMambaClassify")
# How the bundled models were made is of no use within Slicer.
NOT_IN_SLICER = "NNMambaBrainModels/"


def cmake_list(module, name):
    """Return the entries of a list in a module's CMakeLists.txt."""
    text = (ROOT / module / "CMakeLists.txt").read_text(encoding="utf-8")
    entries = re.search(rf"set\({name}\s(.*?)\)", text, re.DOTALL).group(1).split()
    return sorted(entry.replace("${MODULE_NAME}", module) for entry in entries)


def files_of(module):
    """Return the files that git tracks or would track below a module's folder."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", module]
    result = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip("not a git checkout")
    names = {name.removeprefix(f"{module}/") for name in result.stdout.splitlines() if (ROOT / name).exists()}
    return sorted(name for name in names if not name.endswith("CMakeLists.txt") and not name.startswith(NOT_IN_SLICER))


@pytest.mark.parametrize("module", MODULES)
def test_cmake_lists_every_script_and_resource(module):
    files = files_of(module)
    scripts = [name for name in files if name.endswith(".py")]
    assert cmake_list(module, "MODULE_PYTHON_SCRIPTS") == scripts
    assert cmake_list(module, "MODULE_PYTHON_RESOURCES") == [name for name in files if name not in scripts]


def test_extension_adds_every_module():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"add_subdirectory\((\w+)\)", text) == list(MODULES)


def test_readme_and_continuous_integration_run_the_same_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^pip install .*$", readme, re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("&& nnmamba demo")
    assert commands[1].endswith("&& pytest")
