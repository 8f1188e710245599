"""A model package: a folder or a zip file with ``model.json`` and ``weights.safetensors``."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from NNMambaLib.errors import ModelError
from NNMambaLib.files import atomic_file, make_folder
from NNMambaLib.models.manifest import Manifest, format_manifest, parse_manifest

if TYPE_CHECKING:
    from torch import nn

MANIFEST_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "card.md"
# What reading a zip file may raise: damage, encryption, a compression that Python does not know.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class ModelPackage:
    """A package whose manifest was read and is valid; its weights are verified when they are loaded.

    Attributes:
        path: the folder or zip file.
        sha256: of the weights, as the manifest states it.
    """

    path: Path
    manifest: Manifest
    sha256: str

    def require_task(self, task: str) -> None:
        """Refuse a package that is for another task.

        Raises:
            ModelError: naming both tasks.
        """
        if self.manifest.task != task:
            raise ModelError(
                f"The model {self.manifest.name} is for {self.manifest.task}, not for {task}: choose another."
            )

    def load(self) -> nn.Module:
        """Return the network with its weights in float32, in evaluation mode, on the CPU.

        Raises:
            ModelError: if the weights are missing, altered, damaged, or do not fit the manifest's network.
        """
        content = _read(self.path, WEIGHTS_FILE)
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ModelError(
                f"The weights of {self.path} were altered or damaged (SHA-256 {digest[:12]}..., the manifest says "
                f"{self.sha256[:12]}...): install the package again."
            )
        # Not at the top: panels list packages before torch is installed, and without the seconds of its import.
        from NNMambaLib.models.weights import network_from_bytes

        return network_from_bytes(content, self.manifest.network, str(self.path))

    def card(self) -> str | None:
        """Return the model card (Markdown), or None where the package has none."""
        return _read(self.path, CARD_FILE).decode() if CARD_FILE in _names(self.path) else None

    def size(self) -> int:
        """Return the bytes that the package takes on disk."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())


def open_package(path: str | Path) -> ModelPackage:
    """Return the package in a folder or zip file.

    Raises:
        ModelError: if there is none, or its manifest is missing or wrong.
    """
    path = Path(path)
    manifest, sha256 = parse_manifest(_read(path, MANIFEST_FILE).decode("utf-8", "replace"), str(path / MANIFEST_FILE))
    if WEIGHTS_FILE not in _names(path):
        raise ModelError(f"The model package {path} lacks {WEIGHTS_FILE}: install the package again.")
    return ModelPackage(path, manifest, sha256)


def write_package(
    folder: str | Path, manifest: Manifest, network: nn.Module, half: bool = False, card: str | None = None
) -> ModelPackage:
    """Write a package to a folder, which is created if need be; a package there is replaced.

    Args:
        half: store floating-point weights in half precision, except tensors with values beyond its range, such as
            BatchNorm's statistics; inference is in float32 all the same.
        card: the model card (Markdown).

    Raises:
        ModelError: if the manifest is wrong or the network does not fit it.
        OutputError: if the folder cannot be written.
    """
    from NNMambaLib.models.weights import network_to_bytes

    content = network_to_bytes(network, manifest.network, manifest.name, half)
    sha256 = hashlib.sha256(content).hexdigest()
    files = {WEIGHTS_FILE: content, MANIFEST_FILE: format_manifest(manifest, sha256).encode()}
    if card is not None:
        files[CARD_FILE] = card.encode()
    folder = make_folder(folder)
    for name, data in files.items():
        with atomic_file(folder / name) as temporary:
            temporary.write_bytes(data)
    return ModelPackage(folder, manifest, sha256)


def _names(path: Path) -> set[str]:
    if path.is_dir():
        return {file.name for file in path.iterdir()}
    with zipfile.ZipFile(path) as archive:
        return {name.removeprefix(folder_in_zip(archive)) for name in archive.namelist()}


def folder_in_zip(archive: zipfile.ZipFile) -> str:
    """Return the package's folder within a zip file, with its slash; empty where the files are at the top."""
    manifests = [name for name in archive.namelist() if name.split("/")[-1] == MANIFEST_FILE]
    return min(manifests, key=len, default=MANIFEST_FILE).removesuffix(MANIFEST_FILE)


def _read(path: Path, name: str) -> bytes:
    if not path.exists():
        raise ModelError(f"There is no model package at {path}: check the path.")
    try:
        if path.is_dir():
            return (path / name).read_bytes()
        with zipfile.ZipFile(path) as archive:
            return archive.read(folder_in_zip(archive) + name)
    except (FileNotFoundError, KeyError) as error:
        raise ModelError(f"The model package {path} lacks {name}: install the package again.") from error
    except (*ZIP_ERRORS, OSError) as error:
        raise ModelError(f"{path} is not a model package, or is damaged ({error}): install it again.") from error
