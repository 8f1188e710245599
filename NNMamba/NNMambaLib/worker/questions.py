"""Questions to the worker beside jobs; the answers are what JSON can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Question:
    """A question to the worker.

    Attributes:
        name: ``machine``, answered by `machine_report`; or ``install``, see `_install`.
        arguments: of the question, as JSON can hold them.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


def answer(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the answer, in the worker's process.

    Raises:
        NNMambaError: as what is asked for does.
    """
    return _ANSWERS[name](**arguments)


def _machine() -> dict[str, Any]:
    from NNMambaLib.support.machine_report import machine_report

    return machine_report()


def _install(path: str, replace: bool) -> dict[str, Any]:
    """Install a model package; answer with its ``name``, its ``version`` and what was ``left_out``."""
    from NNMambaLib.models.installation import install_package

    installation = install_package(path, replace)
    manifest = installation.package.manifest
    return {"name": manifest.name, "version": manifest.version, "left_out": list(installation.left_out)}


_ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {"machine": _machine, "install": _install}
