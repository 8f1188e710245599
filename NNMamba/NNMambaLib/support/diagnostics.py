"""A report of an installation for those who help, without paths and names of users, hosts or volumes."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from typing import Any

from NNMambaLib import __version__
from NNMambaLib.errors import ModelError
from NNMambaLib.models.catalogue import bundled_folder, installed_packages, open_package
from NNMambaLib.support.anonymize import without_private
from NNMambaLib.support.machine_report import backend_states, form_states
from NNMambaLib.support.setup_check import FIXED_PACKAGES, Need, installed_version

# Of the worker's log.
_LOG_LINES = 40


def diagnostic_report(
    application: str,
    needs: Sequence[Need],
    machine: dict[str, Any] | str,
    worker: str,
    last_error: str,
    log: str,
    private: Iterable[str] = (),
) -> str:
    """Return the report as plain text.

    Args:
        application: name and version of the application that it runs in.
        needs: see `read_needs`.
        machine: what `machine_report` returned, or why there is none.
        worker: its state.
        last_error: of a job; empty where there was none.
        log: what the worker printed; its end is taken.
        private: names of volumes and the like, which must not appear.
    """
    sections = {
        "Versions": [
            f"NNMamba {__version__}",
            application,
            f"Python {platform.python_version()}",
            f"{platform.system()} {platform.release()} ({platform.machine()})",
        ],
        "Packages": [
            *(f"{name} {installed_version(name) or 'not installed'}" for name in FIXED_PACKAGES),
            *(f"{need.requirement}: {need.installed or 'not installed'}" for need in needs),
        ],
        "Machine": _machine_lines(machine),
        "Models": _model_lines(),
        "Engine": [worker],
        "Last error": [last_error or "none"],
        "End of the engine's log": log.strip().splitlines()[-_LOG_LINES:] or ["empty"],
    }
    text = "\n\n".join("\n".join([f"== {title} ==", *lines]) for title, lines in sections.items())
    return without_private(text, private) + "\n"


def _machine_lines(machine: dict[str, Any] | str) -> list[str]:
    if isinstance(machine, str):
        return [machine]
    return [
        *(f"{name} {version}" for name, version in machine["versions"].items()),
        *(f"device {name}: {state}" for name, state in machine["devices"].items()),
        *(f"no device {name}: {reason}" for name, reason in machine["unavailable_devices"].items()),
        *(f"scan backend {name}: {state}" for name, state in backend_states(machine).items()),
        *(f"{name}: {state}" for name, state in form_states(machine).items()),
    ]


def _model_lines() -> list[str]:
    lines = []
    for name, path in installed_packages().items():
        where = "bundled" if path.parent == bundled_folder() else "installed"
        try:
            package = open_package(path)
            lines.append(f"{name} {package.manifest.version} ({package.manifest.task}, {where}) {package.sha256}")
        except ModelError as error:
            lines.append(f"{name} ({where}): {error}")
        except ImportError as error:
            lines.append(f"{name} ({where}): cannot be read ({error})")
    return lines
