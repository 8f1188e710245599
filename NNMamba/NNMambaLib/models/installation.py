"""Install model packages in the user's folder, and delete them."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from NNMambaLib.errors import ModelError, OutputError
from NNMambaLib.files import make_folder
from NNMambaLib.models.catalogue import bundled_folder, installed_packages, user_folder
from NNMambaLib.models.package import MANIFEST_FILE, ZIP_ERRORS, ModelPackage, folder_in_zip, open_package
from NNMambaLib.runtime.units import format_bytes

# A package is data: files of other kinds beside it are not copied.
_DATA_SUFFIXES = (".json", ".safetensors", ".md", ".txt", ".csv", ".png", ".jpg")


@dataclass(frozen=True)
class Installation:
    """A package that was installed, and the names of the files beside it that were left out."""

    package: ModelPackage
    left_out: tuple[str, ...]


def install_package(source: str | Path, replace: bool = False) -> Installation:
    """Copy a package from a folder or zip file to the user's folder, once manifest, digest and weights are verified.

    Args:
        replace: replace an installed model of the same name, which is refused otherwise.

    Raises:
        ModelError: if there is no package, it is damaged or not safe to unpack, or its name is taken.
        OutputError: if it cannot be copied.
    """
    source = Path(source)
    name = open_package(source).manifest.name
    if not replace and name in installed_packages():
        raise ModelError(f"A model {name} is installed already: delete it first, or have it replaced (--overwrite).")
    target = make_folder(user_folder()) / name
    try:
        with tempfile.TemporaryDirectory(prefix=".nnmamba-", dir=target.parent) as folder:
            # The catalogue does not see it there, for it looks no deeper than the user's folder.
            copy = Path(folder) / "package"
            copy.mkdir()
            left_out = _unpack(source, copy) if source.is_file() else _copy(source, copy)
            # The copy is what is verified, not its source.
            open_package(copy).load()
            _put_in_place(copy, target, Path(folder))
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{source} cannot be copied to {target.parent} ({reason}): check space and access."
        ) from error
    return Installation(open_package(target), tuple(left_out))


def delete_package(name: str) -> Path:
    """Delete a model that the user installed, and return where it was.

    Raises:
        ModelError: if there is none of that name, or it is bundled.
        OutputError: if it cannot be deleted.
    """
    places = _places(name)
    if not places:
        if (bundled_folder() / name) in installed_packages().values():
            raise ModelError(f"The model {name} comes with NNMamba and cannot be deleted.")
        known = ", ".join(key for key, path in installed_packages().items() if is_deletable(path)) or "none"
        raise ModelError(f"There is no installed model '{name}': give one of those that were installed ({known}).")
    for place in places:
        try:
            shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
        except OSError as error:
            raise OutputError(f"{place} cannot be deleted ({error.strerror}): check access to it.") from error
    return places[0]


def is_deletable(path: Path) -> bool:
    """Tell whether a package is in the user's folder and not bundled."""
    return path.parent == user_folder()


def _places(name: str) -> list[Path]:
    """Return where the user's folder has a model of that name: as a folder, a zip file, or both."""
    # Compared with the names of what is there: a path made of `name` might lead elsewhere.
    there = sorted(user_folder().iterdir()) if user_folder().is_dir() else []
    return [
        path
        for path in there
        if (path.name == name and (path / MANIFEST_FILE).is_file()) or (path.name == f"{name}.zip" and path.is_file())
    ]


def _put_in_place(copy: Path, target: Path, folder: Path) -> None:
    """Move a package to its place; what was there goes to `folder`, and back if the move fails."""
    moved = {old: folder / f"old-{old.name}" for old in _places(target.name)}
    done = []
    try:
        for old, aside in moved.items():
            os.replace(old, aside)
            done.append(old)
        os.replace(copy, target)
    except OSError:
        for old in done:
            os.replace(moved[old], old)
        raise


def _copy(source: Path, folder: Path) -> list[str]:
    """Copy a package's files from a folder, and return the names of those that were left out."""
    left_out = []
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix.lower() in _DATA_SUFFIXES:
            shutil.copyfile(path, folder / path.name)
        else:
            left_out.append(path.name)
    return left_out


def _unpack(source: Path, folder: Path) -> list[str]:
    """Unpack a package's files from a zip file, and return the names of those that were left out.

    Raises:
        ModelError: if it is damaged, holds links or names that lead out of the folder, or unpacks to more than fits.
    """
    left_out = []
    try:
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                _check_entry(entry, source)
            within = folder_in_zip(archive)
            files = {}
            for entry in archive.infolist():
                name = entry.filename.removeprefix(within)
                if entry.is_dir():
                    continue
                taken = entry.filename.startswith(within) and "/" not in name
                if taken and PurePosixPath(name).suffix.lower() in _DATA_SUFFIXES:
                    files[name] = entry
                else:
                    left_out.append(entry.filename)
            needed, free = sum(entry.file_size for entry in files.values()), shutil.disk_usage(folder).free
            if needed > free:
                raise ModelError(
                    f"{source} unpacks to {format_bytes(needed)} and the disk has {format_bytes(free)} free: make room."
                )
            for name, entry in files.items():
                with archive.open(entry) as packed, (folder / name).open("xb") as file:
                    shutil.copyfileobj(packed, file)
    except ZIP_ERRORS as error:
        raise ModelError(f"{source} cannot be unpacked ({error}): download it again.") from error
    return left_out


def _check_entry(entry: zipfile.ZipInfo, source: Path) -> None:
    path = PurePosixPath(entry.filename)
    leads_out = path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename
    if leads_out or stat.S_ISLNK(entry.external_attr >> 16):
        raise ModelError(
            f"{source} holds '{entry.filename}', which leads out of its folder: get the package from its authors."
        )
