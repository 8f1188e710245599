"""Install model packages in the user's folder, and delete them."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from NNMambaLib.errors import ModelError, OutputError
from NNMambaLib.file_placement import flush_files, flush_folder
from NNMambaLib.files import make_folder
from NNMambaLib.models.catalogue import bundled_folder, installed_packages, user_folder
from NNMambaLib.models.limits import MAX_TEXT_BYTES
from NNMambaLib.models.package import WEIGHTS_FILE, ModelPackage, open_package
from NNMambaLib.models.zip_files import MANIFEST_FILE, ZIP_ERRORS, files_in_zip, folder_in_zip, is_data, open_zip
from NNMambaLib.runtime.leftovers import temporary_prefix
from NNMambaLib.runtime.units import format_bytes


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
    given = open_package(source)
    # That of the package: of a training, only its folder may be given.
    source = given.path
    given.check_size()
    name = given.manifest.name
    if not replace and name in installed_packages():
        raise ModelError(f"A model {name} is installed already: delete it first, or have it replaced (--overwrite).")
    target = make_folder(user_folder()) / name
    try:
        with tempfile.TemporaryDirectory(prefix=temporary_prefix(), dir=target.parent) as folder:
            # The catalogue does not see it there, for it looks no deeper than the user's folder.
            copy = Path(folder) / "package"
            copy.mkdir()
            left_out = _unpack(source, copy) if source.is_file() else _copy(source, copy)
            # The copy is what is verified, not its source.
            open_package(copy).load()
            flush_files(copy)
            _put_in_place(copy, target, Path(folder))
            flush_folder(target.parent)
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
    try:
        for old, aside in moved.items():
            os.replace(old, aside)
        os.replace(copy, target)
    except BaseException:
        # An interruption may come between two moves, or after the last.
        for old, aside in moved.items() if copy.exists() else ():
            if os.path.lexists(aside):
                os.replace(aside, old)
        raise


def _copy(source: Path, folder: Path) -> list[str]:
    """Copy a package's files from a folder, and return the names of those that were left out."""
    left_out = []
    for path in sorted(source.iterdir()):
        if path.is_file() and is_data(path.name):
            _check_size(path.name, path.stat().st_size, source)
            shutil.copyfile(path, folder / path.name)
        else:
            left_out.append(path.name)
    return left_out


def _unpack(source: Path, folder: Path) -> list[str]:
    """Unpack a package's files from a zip file, and return the names of those that were left out.

    Raises:
        ModelError: if it is damaged, holds links or names that lead out of the folder, or unpacks to more than fits.
    """
    try:
        with open_zip(source) as archive:
            within, taken = folder_in_zip(archive), files_in_zip(archive)
            files = {entry.filename.removeprefix(within): entry for entry in taken.values()}
            left_out = [
                entry.filename
                for number, entry in enumerate(archive.infolist())
                if number not in taken and not entry.is_dir()
            ]
            for name, entry in files.items():
                _check_size(name, entry.file_size, source)
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


def _check_size(name: str, size: int, source: Path) -> None:
    if name != WEIGHTS_FILE and size > MAX_TEXT_BYTES:
        raise ModelError(
            f"{name} of {source} has {format_bytes(size)}, and beside the weights no file of a package has more than "
            f"{format_bytes(MAX_TEXT_BYTES)}: remove it."
        )
