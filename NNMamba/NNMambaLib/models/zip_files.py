"""Zip files of model packages: what is in them is checked by name and size before anything is read."""

from __future__ import annotations

import lzma
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from NNMambaLib.errors import ModelError
from NNMambaLib.models.limits import MAX_ZIP_ENTRIES
from NNMambaLib.models.manifest_checks import DEVICE_NAMES

MANIFEST_FILE = "model.json"
# A package is data: files of other kinds beside it are not copied.
DATA_SUFFIXES = (".json", ".safetensors", ".md", ".txt", ".csv", ".png", ".jpg")
# What reading a zip file may raise: damage, encryption, a compression that Python does not know.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)

# Control characters, and what Windows allows in no name.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*]')


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Give a zip file whose names are checked.

    Raises:
        ModelError: if it has too many entries, links, names that lead out of it, or two files of the package with names
            that are the same on Windows or macOS, or that cannot be had there.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_ZIP_ENTRIES:
            raise ModelError(
                f"{path} holds {len(entries):,} files, and a model package at most {MAX_ZIP_ENTRIES:,}: get "
                "the package from its authors."
            )
        for entry in entries:
            _check_entry(entry, path)
        _check_package_files([PurePosixPath(entry.filename).name for entry in files_in_zip(archive).values()], path)
        yield archive


def folder_in_zip(archive: zipfile.ZipFile) -> str:
    """Return the package's folder within a zip file, with its slash; empty where the files are at the top."""
    manifests = [name for name in archive.namelist() if name.split("/")[-1] == MANIFEST_FILE]
    return min(manifests, key=len, default=MANIFEST_FILE).removesuffix(MANIFEST_FILE)


def files_in_zip(archive: zipfile.ZipFile) -> dict[int, zipfile.ZipInfo]:
    """Return the entries that are files of the package, by their number in the zip file; `is_data` tells which."""
    within = folder_in_zip(archive)
    return {
        number: entry
        for number, entry in enumerate(archive.infolist())
        if entry.filename.startswith(within) and is_data(entry.filename.removeprefix(within))
    }


def is_data(name: str) -> bool:
    """Tell whether a name is that of a file at the top of a package, which is copied with it.

    Archives made on macOS hold ``._NAME`` beside every file, which belong to no package.
    """
    return "/" not in name and not name.startswith("._") and PurePosixPath(name).suffix.lower() in DATA_SUFFIXES


def _check_entry(entry: zipfile.ZipInfo, source: Path) -> None:
    name = entry.filename
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    if leads_out or stat.S_ISLNK(entry.external_attr >> 16):
        raise ModelError(
            f"{source} holds {_shown(name)}, which leads out of its folder: get the package from its authors."
        )
    # What zipfile read before a NUL is not what others read.
    if not name.isprintable() or "\0" in entry.orig_filename:
        raise ModelError(f"{source} holds {_shown(name)}, a name with control characters: get it from its authors.")


def _check_package_files(names: list[str], source: Path) -> None:
    found: dict[str, str] = {}
    for name in names:
        if _NOT_IN_NAMES.search(name) or name.split(".")[0].rstrip().lower() in DEVICE_NAMES:
            raise ModelError(f"{source} holds {_shown(name)}, a name that Windows cannot have: rename the file.")
        key = unicodedata.normalize("NFC", name).casefold()
        if key in found:
            raise ModelError(
                f"{source} holds {_shown(found[key])} and {_shown(name)}, which are one file on Windows and macOS: "
                "remove one."
            )
        found[key] = name


def _shown(name: str) -> str:
    return f"'{name}'" if name.isprintable() and len(name) <= 100 else f"{name[:100]!a}"
