"""The module `slicer.packaging`: requirements are read and checked, and nothing is ever installed."""

from __future__ import annotations

import importlib.metadata
import types
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement


def packaging_module(installed: list[list[str]]) -> types.ModuleType:
    """Return the module; what it is asked to install or remove is appended to `installed`."""

    def to_list(requirements):
        if isinstance(requirements, (str, Requirement)):
            requirements = [requirements]
        return [entry if isinstance(entry, Requirement) else Requirement(entry) for entry in requirements]

    def load_requirements(path):
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
        return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]

    def pip_check(req):
        return all(map(_is_satisfied, to_list(req)))

    def pip_install(requirements, *, blocking=True, completedCallback: Callable | None = None, **options):
        installed.append(requirements.split() if isinstance(requirements, str) else [str(r) for r in requirements])
        if not blocking and completedCallback is not None:
            completedCallback(0)

    def pip_uninstall(requirements, **options):
        installed.append(["uninstall", *(str(entry) for entry in to_list(requirements))])

    def pip_ensure(requirements, *, prompt_install=True, requester=None, **options):
        import slicer

        missing = [entry for entry in to_list(requirements) if not _is_satisfied(entry)]
        if not missing:
            return
        text = "\n".join([f"{requester or 'This module'} needs Python packages:", *map(str, missing)])
        if prompt_install and not slicer.util.confirmOkCancelDisplay(text, "Install Python packages"):
            raise RuntimeError("The installation was declined.")
        pip_install(missing)

    module = types.ModuleType("slicer.packaging")
    for function in (load_requirements, pip_check, pip_install, pip_uninstall, pip_ensure):
        setattr(module, function.__name__, function)
    return module


def _is_satisfied(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False
