"""The files that weights and plans come in: PyTorch's, in its newer and older form, and pickles. No torch is needed."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.pickled_values import RefusedPickle, Storage, storage_of
from NNMambaLib.models.imports.unpickler import MAX_PICKLE_BYTES, unpickle
from NNMambaLib.models.limits import MAX_WEIGHTS_BYTES
from NNMambaLib.models.zip_files import ZIP_ERRORS
from NNMambaLib.plain_files import check_plain
from NNMambaLib.runtime.units import format_bytes

BYTES = {"Float": 4, "Half": 2, "BFloat16": 2, "Double": 8, "Long": 8, "Int": 4}

# An optimizer keeps two or three tensors for each of a network's few hundred.
_MAX_ENTRIES = 20_000
# The pickle that PyTorch's files began with before version 1.6, and the number of their form.
_OLD_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_OLD_VERSION = 1001
# What people download by mistake, by its first bytes.
_NO_CHECKPOINT = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`",
    b"<!doctype": "a web page, not the file itself: download it again",
    b"<html": "a web page, not the file itself: download it again",
    b"\x1f\x8b": "packed with gzip: unpack it first",
    b"7z\xbc\xaf": "a 7-Zip archive: unpack it first",
    b"\x89hdf": "an HDF5 file: save the weights with PyTorch",
}


@dataclass(frozen=True)
class _Place:
    """Where a storage's bytes are: an entry of a zip file, or from an offset in a file of the older form."""

    entry: str
    offset: int
    size: int


class CheckpointFile:
    """The content of a checkpoint, whose tensors are read when they are asked for.

    Attributes:
        path: of the file.
        content: what was saved: dictionaries, lists, numbers, texts, and `StoredTensor` for tensors.
        form: what kind of file it is, for reports.
    """

    def __init__(self, path: Path, content: Any, form: str, places: dict[str, _Place]):
        self.path, self.content, self.form = path, content, form
        self._places = places
        self._is_zip = any(place.entry for place in places.values())

    def read_storages(self, storages: Iterable[Storage]) -> dict[str, bytearray]:
        """Return the bytes of storages by their keys, little-endian.

        Raises:
            ModelError: if they are damaged, or cannot be read any more.
        """
        contents: dict[str, bytearray] = {}
        with _opened(self.path) as file:
            archive = zipfile.ZipFile(file) if self._is_zip else None
            for storage in storages:
                if storage.key in contents:
                    continue
                place = self._places[storage.key]
                content = contents[storage.key] = bytearray(place.size)
                if archive is None:
                    file.seek(place.offset)
                    found = file.readinto(content)  # type: ignore[attr-defined] # BinaryIO lacks it
                else:
                    with archive.open(place.entry) as entry:
                        # The checksum is compared at the end.
                        found = entry.readinto(content)  # type: ignore[attr-defined] # IO lacks it
                if found != place.size:
                    raise _damaged(self.path, f"the numbers {storage.key!a} are cut short")
        return contents


def open_checkpoint(path: str | Path) -> CheckpointFile:
    """Read what a file of PyTorch or a pickle holds; nothing in it is run, and its tensors are not read yet.

    Raises:
        ModelError: if it is no such file, is damaged or too large, or asks for anything but data.
    """
    path = Path(path)
    size = check_plain(path, ModelError)
    if size > MAX_WEIGHTS_BYTES:
        raise ModelError(
            f"{path} has {format_bytes(size)}, and checkpoints of nnMamba at most {format_bytes(MAX_WEIGHTS_BYTES)}: "
            "give another."
        )
    with _opened(path) as file:
        start = file.read(64)
        for mark, what in _NO_CHECKPOINT.items():
            if start.lower().startswith(mark):
                raise ModelError(f"{path} is {what}.")
        if start.startswith(b"PK"):
            return _zip_file(path, file, size)
        if not start.startswith((b"\x80", b"(", b"]", b"}", b"c")):
            raise ModelError(f"{path} is no checkpoint that is known here: give a .pth, .pt, .model or .safetensors.")
        file.seek(0)
        content = file.read(MAX_PICKLE_BYTES)
        if start.startswith(_OLD_START):
            return _old_file(path, content, file, size)
        if size > MAX_PICKLE_BYTES:
            raise ModelError(
                f"{path} is a pickle of {format_bytes(size)}, and those of plans have at most "
                f"{format_bytes(MAX_PICKLE_BYTES)}: save weights with torch.save, or as .safetensors."
            )
        return CheckpointFile(path, unpickle(content, str(path))[0], "pickle", {})


def _zip_file(path: Path, file: IO[bytes], size: int) -> CheckpointFile:
    """Return a file of PyTorch 1.6 or later: a zip file whose entries are not compressed."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename: entry for entry in entries}
        pickles = [name for name in names if name.split("/")[-1] == "data.pkl" and name.count("/") <= 1]
        if len(entries) > _MAX_ENTRIES or len(names) != len(entries):
            raise _damaged(path, f"it has {len(entries):,} parts, or two of one name")
        if len(pickles) != 1:
            raise ModelError(
                f"{path} is a zip file, and none that PyTorch wrote: if the checkpoint is in it, unpack it first."
            )
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in names:
            raise ModelError(
                f"{path} is a TorchScript archive, which holds code: save the network's state_dict() instead."
            )
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ModelError(f"{path} is compressed, as PyTorch writes none: unpack it and load it as it was.")
        if sum(entry.file_size for entry in entries) > size or names[pickles[0]].file_size > MAX_PICKLE_BYTES:
            raise _damaged(path, "its parts claim more than the file has")
        order = f"{folder}byteorder"
        if order in names and archive.read(order)[:16] != b"little":
            raise ModelError(f"{path} was saved on a big-endian machine: load it with PyTorch and save it again.")
        within = f"{folder}data/"
        places = {
            name.removeprefix(within): _Place(name, 0, entry.file_size)
            for name, entry in names.items()
            if name.startswith(within)
        }

        def located(reference: Any, source: str) -> Storage:
            storage = storage_of(reference, source)
            place = places.get(storage.key)
            if place is None or place.size != storage.count * BYTES[storage.kind]:
                raise _damaged(path, f"the numbers {storage.key!a} are missing or cut short")
            return storage

        content, _ = unpickle(archive.read(pickles[0]), str(path), located)
        return CheckpointFile(path, content, "PyTorch file", places)


def _old_file(path: Path, start: bytes, file: IO[bytes], size: int) -> CheckpointFile:
    """Return a file of PyTorch before 1.6: five pickles, and then the numbers."""
    source, end = str(path), len(_OLD_START)
    version, end = unpickle(start, source, None, end)
    system, end = unpickle(start, source, None, end)
    if version != _OLD_VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ModelError(f"{path} is of a form of PyTorch that is not known here: load it with PyTorch, save it again.")
    storages: dict[str, Storage] = {}

    def remember(reference: Any, source: str) -> Storage:
        storage = storage_of(reference, source)
        if storages.setdefault(storage.key, storage) != storage:
            raise RefusedPickle(f"{source} says two things of the numbers {storage.key!a}: get it again.")
        return storage

    content, end = unpickle(start, source, remember, end)
    keys, end = unpickle(start, source, None, end)
    if not isinstance(keys, list) or len(keys) != len(storages) or set(map(_text, keys)) != set(storages):
        raise _damaged(path, "its list of numbers is not that of its tensors")
    places = {}
    for key in keys:
        length = storages[key].count * BYTES[storages[key].kind]
        file.seek(end)
        count = int.from_bytes(file.read(8), "little")
        if count != storages[key].count or end + 8 + length > size:
            raise _damaged(path, f"the numbers {key!a} are cut short")
        places[key] = _Place("", end + 8, length)
        end += 8 + length
    return CheckpointFile(path, content, "PyTorch file of before version 1.6", places)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _damaged(path: Path, how: str) -> ModelError:
    return ModelError(f"{path} is damaged ({how}): get it again.")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            yield file
    except ZIP_ERRORS as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
