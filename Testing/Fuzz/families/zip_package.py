"""Packages in zip files, which are installed: all of a package is there afterwards, or nothing."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from families import samples
from NNMambaLib.models.catalogue import user_folder
from NNMambaLib.models.installation import install_package
from NNMambaLib.models.package import open_package
from NNMambaLib.support.random_package import write_random_package


def seeds(folder: Path) -> None:
    """Write a package as a zip file, deflated and stored."""
    package = write_random_package(folder / "package", samples.manifest())
    for name, method in (("deflated", zipfile.ZIP_DEFLATED), ("stored", zipfile.ZIP_STORED)):
        (folder / name).mkdir()
        with zipfile.ZipFile(folder / name / "package.zip", "w", method) as archive:
            for file in sorted(package.path.iterdir()):
                # A fixed date: a seed is the same in every run.
                archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), method)
    shutil.rmtree(folder / "package")


def feed(folder: Path) -> None:
    """Install the package, look at what is there, and take it away again."""
    installed = install_package(folder / "package.zip").package
    open_package(installed.path).load()
    shutil.rmtree(installed.path)
    user_folder().rmdir()
