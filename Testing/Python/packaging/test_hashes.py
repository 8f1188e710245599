"""The requirements with hashes are those of the README's two commands, in the versions of constraints.txt."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hash_requirements import EXTRAS

ROOT = Path(__file__).parents[3]


def pinned(name):
    """Return {package: (version, hashes)} of a file of requirements."""
    lines = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            package, version = re.fullmatch(r"([\w.-]+)==(\S+)(?: ;.*)?", requirement.strip()).groups()
            found[canonicalize_name(package)] = version, [value.strip() for value in hashes]
    return found


def asked_for(extras):
    """Return the requirements of the project, and of what is installed of them, by package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    waiting, found = [Requirement(text) for text in texts], {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found[name] = requirement
        try:
            needed = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue
        contexts = [{"extra": extra} for extra in requirement.extras or {""}]
        waiting += [each for each in needed if each.marker is None or any(map(each.marker.evaluate, contexts))]
    return found


def constraints():
    """Return {package: version} of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


def test_constraints_have_a_version_of_what_each_extra_asks_for_and_it_fits():
    versions = constraints()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra, texts in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for requirement in map(Requirement, texts):
            version = versions.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement.name} of {extra}"
            assert requirement.specifier.contains(version), f"{requirement} of {extra}: {version}"


@pytest.mark.parametrize("name", EXTRAS)
def test_every_file_has_a_hash_and_every_version_is_that_of_the_constraints(name):
    versions = constraints()
    for package, (version, hashes) in pinned(name).items():
        assert versions.get(package, version) == version, f"{package}: run hash_requirements.py"
        assert hashes, package
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in hashes), package


@pytest.mark.parametrize("name", EXTRAS)
def test_what_the_project_asks_for_is_there(name):
    found = pinned(name)
    for package, requirement in asked_for(EXTRAS[name]).items():
        assert package in found, f"{package}: run hash_requirements.py"
        assert requirement.specifier.contains(found[package][0]), package
    assert "setuptools" in found


def test_they_are_those_of_the_readmes_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r'^pip install .*"\.\[(.*)\]"', readme, re.MULTILINE)
    assert [tuple(extras.split(",")) for extras in commands] == list(EXTRAS.values())
