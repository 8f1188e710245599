"""Find model packages by name: those that are bundled and those that the user installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from NNMambaLib.errors import ModelError
from NNMambaLib.file_names import check_name
from NNMambaLib.models.package import MANIFEST_FILE, ModelPackage, open_package

FOLDER_VARIABLE = "NNMAMBA_MODELS"

_RESOURCES = Path(__file__).parents[1] / "Resources"


def bundled_folder() -> Path:
    """Return the folder of the bundled packages."""
    return _RESOURCES / "Models"


def sample_volume() -> Path:
    """Return the file of the bundled sample volume: a head, T1-weighted MR."""
    return _RESOURCES / "SampleData" / "head-t1.nii.gz"


def user_folder() -> Path:
    """Return the folder of the packages that the user installed: $NNMAMBA_MODELS, or the platform's folder for data.

    Raises:
        ModelError: if the user has no home folder, and the variable is not set.
    """
    if FOLDER_VARIABLE in os.environ:
        return Path(os.environ[FOLDER_VARIABLE])
    base = os.environ.get({"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_DATA_HOME"))
    if not base:
        below = {"win32": ("AppData", "Local"), "darwin": ("Library", "Application Support")}
        try:
            base = Path.home().joinpath(*below.get(sys.platform, (".local", "share")))
        except RuntimeError as error:
            raise ModelError(f"This user has no home folder: set {FOLDER_VARIABLE} to a folder for models.") from error
    return Path(base) / "NNMamba" / "Models"


def installed_packages() -> dict[str, Path]:
    """Return {name: path} of all packages; a user's package takes the place of a bundled one of the same name."""
    try:
        folder = user_folder()
    except ModelError:
        # Who has no folder has installed nothing.
        return _packages_in(bundled_folder())
    return _packages_in(bundled_folder()) | _packages_in(folder)


def bundled_packages() -> list[ModelPackage]:
    """Return the bundled packages.

    Raises:
        ModelError: if one of them is damaged.
    """
    return [open_package(path) for path in _packages_in(bundled_folder()).values()]


def find_package(model: str | Path | ModelPackage) -> ModelPackage:
    """Return a package by its path (a folder or zip file) or by its name in the catalogue.

    Raises:
        ModelError: if there is none, it cannot be opened, or its manifest is wrong.
    """
    if isinstance(model, ModelPackage):
        return model
    check_name(model, ModelError)
    packages = installed_packages()
    if str(model) in packages:
        return open_package(packages[str(model)])
    try:
        exists = Path(model).exists()
    except OSError as error:
        raise ModelError(f"The model '{model}' cannot be opened ({error.strerror}): check its path.") from error
    if exists:
        return open_package(model)
    known = ", ".join(packages) or "none"
    raise ModelError(f"There is no model '{model}': give the path of a package, or one of those installed ({known}).")


def _packages_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    try:
        paths = [path for path in sorted(folder.iterdir()) if path.suffix == ".zip" or _holds_manifest(path)]
    except OSError:
        return {}
    # Archives made on macOS leave "._NAME.zip" beside "NAME.zip".
    return {path.name.removesuffix(".zip"): path for path in paths if not path.name.startswith("._")}


def _holds_manifest(path: Path) -> bool:
    try:
        return (path / MANIFEST_FILE).is_file()
    except OSError:
        # A folder that cannot be entered may be a package: it is listed, and opening it says what is wrong.
        return True
