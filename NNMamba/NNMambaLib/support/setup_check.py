"""The packages that the engine needs, those that are missing, and those that pip must leave alone.

Only the metadata of installed packages is read: nothing is imported and nothing installed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

try:
    from packaging.requirements import Requirement
except ImportError:
    # Where it is not installed by itself, pip brings a copy.
    from pip._vendor.packaging.requirements import Requirement  # type: ignore[assignment] # the same class

from NNMambaLib.errors import NNMambaError
from NNMambaLib.runtime.leftovers import PLAIN, temporary_prefix

# They come with Slicer, whose own modules break with other versions.
FIXED_PACKAGES = ("numpy", "SimpleITK")
_OPTIONAL = "Optional:"


class SetupError(NNMambaError):
    """A package cannot be installed."""


@dataclass(frozen=True)
class Need:
    """A package that the engine needs.

    Attributes:
        reason: what it is for.
        optional: the engine runs without it.
        installed: the version that is installed, None where it is not.
    """

    requirement: Requirement
    reason: str
    optional: bool
    installed: str | None

    @property
    def name(self) -> str:
        return self.requirement.name

    @property
    def satisfied(self) -> bool:
        return self.installed is not None and self.requirement.specifier.contains(self.installed, prereleases=True)


def read_needs(path: str | Path) -> list[Need]:
    """Return what a requirements file asks for on this platform, and what of it is installed.

    The comment right above a package is its reason, with ``Optional:`` in front where the engine runs without it.

    Raises:
        ValueError: if the file asks for one of `FIXED_PACKAGES`.
    """
    importlib.invalidate_caches()
    needs, comment = [], ""
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            comment = line.removeprefix("#").strip()
            continue
        requirement = Requirement(line)
        if requirement.name.lower() in [name.lower() for name in FIXED_PACKAGES]:
            raise ValueError(f"{path} asks for {requirement.name}, which comes with Slicer: remove the line.")
        if requirement.marker is None or requirement.marker.evaluate():
            reason = comment.removeprefix(_OPTIONAL).strip()
            optional, installed = reason != comment, installed_version(requirement.name)
            needs.append(Need(requirement, reason, optional, installed))  # type: ignore[arg-type] # pip's copy of the class
        comment = ""
    return needs


def missing_needs(needs: list[Need], with_optional: bool = True) -> list[Need]:
    """Return the needs that no installed package satisfies."""
    return [need for need in needs if not need.satisfied and (with_optional or not need.optional)]


def installed_version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def fixed_versions() -> dict[str, str | None]:
    """Return {name: installed version} of the packages that pip must leave alone."""
    importlib.invalidate_caches()
    return {name: installed_version(name) for name in FIXED_PACKAGES}


def constraints() -> str:
    """Return pip constraints that keep `FIXED_PACKAGES` as they are."""
    # No version is below 0: where pip knows of none, it may install none.
    return "".join(f"{name}=={version}\n" if version else f"{name}<0\n" for name, version in fixed_versions().items())


@contextmanager
def pip_held_back() -> Iterator[Path]:
    """Yield a constraints file that every pip started within the block obeys, even if it is not told to.

    Within the block pip installs wheels only: there is no compiler in Slicer.
    """
    with tempfile.TemporaryDirectory(prefix=temporary_prefix(PLAIN)) as folder:
        path = Path(folder).resolve() / "constraints.txt"
        path.write_text(constraints(), encoding="utf-8")
        # pip splits the variable at spaces, which names of users have and URIs have not.
        files = " ".join(filter(None, [os.environ.get("PIP_CONSTRAINT"), path.as_uri()]))
        before = {name: os.environ.get(name) for name in ("PIP_CONSTRAINT", "PIP_ONLY_BINARY")}
        os.environ |= {"PIP_CONSTRAINT": files, "PIP_ONLY_BINARY": ":all:"}
        try:
            yield path
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def platform_notice() -> str | None:
    """Return a sentence on what limits PyTorch on this platform, or None."""
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        return (
            "On this Mac, Python runs as an Intel program: the last PyTorch for it is 2.2.2, without the Apple GPU and "
            "made for numpy 1; the self-test shows whether it works here."
        )
    return None
