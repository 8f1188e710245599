"""Installs packages into Slicer's Python, with what this version of Slicer offers for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError

import slicer
from slicer.i18n import tr as _

from NNMambaLib.support.setup_check import Need, SetupError, fixed_versions, pip_held_back

REQUESTER = "NNMamba"
TORCH = "torch"


def install(needs: Sequence[Need]) -> list[str]:
    """Install packages that the user agreed to; return a sentence for each optional one that could not be installed.

    Raises:
        SetupError: if one that is not optional cannot be installed. Those before it stay installed.
    """
    before = fixed_versions()
    failures = []
    with pip_held_back() as constraints:
        required = [need for need in needs if not need.optional]
        for need in required:
            if need.name == TORCH and has_pytorch_extension():
                _install_torch(need)
                required.remove(need)
                break
        _install(required, constraints)
        for need in needs:
            if need.optional:
                try:
                    _install([need], constraints)
                except SetupError as error:
                    failures.append(str(error))
    if fixed_versions() != before:
        names = ", ".join(name for name, version in fixed_versions().items() if version != before[name])
        raise SetupError(_("{names} of Slicer was changed by pip: install Slicer again.").format(names=names))
    return failures


def has_pytorch_extension() -> bool:
    """Return whether the PyTorch extension is installed, which chooses PyTorch's build for the graphics card."""
    return hasattr(slicer.modules, "pytorchutils")


def _install_torch(need: Need) -> None:
    try:
        import PyTorchUtils  # type: ignore[reportMissingImports] # a module of another extension

        with slicer.util.WaitCursor():
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=False, torchVersionRequirement=str(need.requirement.specifier)
            )
    except Exception as error:
        # Another extension's code may raise anything.
        raise _failure([need], error) from error
    if torch is None:
        raise SetupError(_("PyTorch was not installed: try again in the module PyTorch Utils."))


def _install(needs: Sequence[Need], constraints: Path) -> None:
    if not needs:
        return
    try:
        try:
            import slicer.packaging as packaging
        except ImportError:
            # Slicer 5.10
            with slicer.util.WaitCursor():
                requirements = [str(need.requirement) for need in needs]
                slicer.util.pip_install([*requirements, "--constraint", str(constraints)])
        else:
            packaging.pip_ensure(
                [need.requirement for need in needs],
                constraints=constraints,
                prompt_install=False,
                # In the middle of the set-up, a restart would come too early.
                prompt_restart=False,
                requester=REQUESTER,
            )
    except (CalledProcessError, OSError, RuntimeError) as error:
        raise _failure(needs, error) from error


def _failure(needs: Sequence[Need], error: Exception) -> SetupError:
    names = ", ".join(str(need.requirement) for need in needs)
    reason = " ".join(str(error).split())
    return SetupError(
        _(
            "{names} cannot be installed ({reason}): check the connection to the internet and its proxy, see the "
            "Python console for what pip says, then go on with the set-up."
        ).format(names=names, reason=reason)
    )
