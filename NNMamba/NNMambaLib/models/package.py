"""A model package: a folder or a zip file with ``model.json`` and ``weights.safetensors``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from NNMambaLib.errors import ModelError
from NNMambaLib.file_names import check_name
from NNMambaLib.files import files_together, make_folder, remove_file, write_bytes
from NNMambaLib.models.limits import MAX_TEXT_BYTES, MAX_WEIGHTS_BYTES
from NNMambaLib.models.manifest import Manifest
from NNMambaLib.models.manifest_file import format_manifest, parse_manifest
from NNMambaLib.models.zip_files import MANIFEST_FILE, ZIP_ERRORS, folder_in_zip, open_zip
from NNMambaLib.plain_files import read_bytes
from NNMambaLib.runtime.units import format_bytes

if TYPE_CHECKING:
    from torch import nn

WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "card.md"
# In the folder of a training: what marks it as one, and its package.
TRAINING_FILE, TRAINED_FOLDER = "run.json", "model"
# Of files that hold weights by themselves.
_PLANS = ("plans.json", "plans.pkl")
_CHECKPOINTS = (".pth", ".pt", ".model", ".ckpt", ".pkl", ".safetensors")
# What a terminal would obey.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


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
        # Not at the top: panels list packages before torch is installed, and without the seconds of its import.
        from NNMambaLib.models.weights import network_from_bytes

        content = _read(self.path, WEIGHTS_FILE, self._largest_weights())
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ModelError(
                f"The weights of {self.path} were altered or damaged (SHA-256 {digest[:12]}..., the manifest says "
                f"{self.sha256[:12]}...): install the package again."
            )
        return network_from_bytes(content, self.manifest.network, str(self.path))

    def check_size(self) -> None:
        """Refuse weights that are larger than the manifest's network could be, before they are read or unpacked.

        Raises:
            ModelError: naming both sizes.
        """
        _check_size(self.path, WEIGHTS_FILE, _size(self.path, WEIGHTS_FILE), self._largest_weights())

    def card(self) -> str | None:
        """Return the model card (Markdown) without control characters, or None where the package has none.

        Raises:
            ModelError: if it is not text in UTF-8.
        """
        with _reading(self.path, CARD_FILE):
            there = CARD_FILE in _names(self.path)
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _text(self.path, CARD_FILE)) if there else None

    def size(self) -> int:
        """Return the bytes that the package takes on disk."""
        if self.path.is_file():
            return self.path.stat().st_size
        with _reading(self.path, WEIGHTS_FILE):
            return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def _largest_weights(self) -> int:
        from NNMambaLib.models.weights import largest_size

        return min(MAX_WEIGHTS_BYTES, largest_size(self.manifest.network))


def open_package(path: str | Path) -> ModelPackage:
    """Return the package in a folder or zip file, or that of a training whose folder is given.

    Raises:
        ModelError: if there is none, or its manifest is missing or wrong.
    """
    check_name(path, ModelError)
    path = _of_training(Path(path))
    _refuse_checkpoint(path)
    manifest, sha256 = parse_manifest(_text(path, MANIFEST_FILE), str(path / MANIFEST_FILE))
    with _reading(path, WEIGHTS_FILE):
        names = _names(path)
    if WEIGHTS_FILE not in names:
        raise ModelError(f"The model package {path} lacks {WEIGHTS_FILE}: install the package again.")
    return ModelPackage(path, manifest, sha256)


def write_package(
    folder: str | Path, manifest: Manifest, network: nn.Module, half: bool = False, card: str | None = None
) -> ModelPackage:
    """Write a package to a folder, which is created if need be; a package there is replaced, whole or not at all.

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
    text = format_manifest(manifest, sha256).encode()
    folder = make_folder(folder)
    with files_together():
        write_bytes(content, folder / WEIGHTS_FILE)
        if card is None:
            # Of a package that is replaced.
            remove_file(folder / CARD_FILE)
        else:
            write_bytes(card.encode(), folder / CARD_FILE)
        # The last: by it a package is known to be complete.
        write_bytes(text, folder / MANIFEST_FILE)
    return ModelPackage(folder, manifest, sha256)


def _of_training(path: Path) -> Path:
    """Return the path of a training's package where `path` is the training's folder, else `path`.

    Raises:
        ModelError: if the training has not ended.
    """
    try:
        package = path / TRAINED_FOLDER
        training = (path / TRAINING_FILE).is_file() and not (path / MANIFEST_FILE).is_file()
        ended = (package / MANIFEST_FILE).is_file()
    except OSError:
        # What cannot be looked at is reported where it is read.
        return path
    if training and not ended:
        raise ModelError(f"{path} holds a training that has not ended: run its command again, which resumes it.")
    return package if training else path


def _refuse_checkpoint(path: Path) -> None:
    """Refuse what holds weights and is no package: it is first to be made one."""
    try:
        alone = path.suffix.lower() in _CHECKPOINTS and path.is_file()
        folder = not (path / MANIFEST_FILE).is_file() and any((path / name).is_file() for name in _PLANS)
        part = alone and (path.parent / MANIFEST_FILE).is_file()
    except OSError:
        # What cannot be looked at is reported where it is read.
        return
    if part:
        raise ModelError(f"{path} is a part of the model package {path.parent}: give the folder.")
    if alone or folder:
        what = "a checkpoint" if alone else "a result folder of nnU-Net"
        raise ModelError(
            f"{path} is {what} and not a model package: make one of it with `nnmamba models import {path}`."
        )


def _names(path: Path) -> set[str]:
    if path.is_dir():
        return {file.name for file in path.iterdir()}
    with open_zip(path) as archive:
        folder = folder_in_zip(archive)
        return {name.removeprefix(folder) for name in archive.namelist()}


def _text(path: Path, name: str) -> str:
    try:
        return _read(path, name, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path / name} is not text in UTF-8: save it again as such.") from error


def _read(path: Path, name: str, largest: int) -> bytes:
    """Return the bytes of a package's file.

    Raises:
        ModelError: if it is missing, damaged, no file but a device, or has more than `largest` bytes.
    """
    _check_size(path, name, _size(path, name), largest)
    with _reading(path, name):
        if path.is_dir():
            return read_bytes(path / name, largest, ModelError)
        with open_zip(path) as archive:
            return archive.read(folder_in_zip(archive) + name)


def _size(path: Path, name: str) -> int:
    """Return the bytes of a package's file, unpacked."""
    with _reading(path, name):
        if path.is_dir():
            file = path / name
            size = file.stat().st_size
            _require_file(file)
            return size
        _require_file(path)
        with open_zip(path) as archive:
            return archive.getinfo(folder_in_zip(archive) + name).file_size


def _require_file(path: Path) -> None:
    # Reading a device or a pipe may never end.
    if not path.is_file():
        raise ModelError(f"{path} is not a file: give a model package.")


def _check_size(path: Path, name: str, size: int, largest: int) -> None:
    if size > largest:
        raise ModelError(
            f"{name} of {path} has {format_bytes(size)} where {format_bytes(largest)} is the most that it can need: "
            "get the package again from its authors."
        )


@contextmanager
def _reading(path: Path, name: str) -> Iterator[None]:
    if not path.exists():
        raise ModelError(f"There is no model package at {path}: check the path.")
    try:
        yield
    except (FileNotFoundError, KeyError) as error:
        raise ModelError(f"The model package {path} lacks {name}: install the package again.") from error
    except (*ZIP_ERRORS, OSError) as error:
        raise ModelError(f"{path} is not a model package, or is damaged ({error}): install it again.") from error
