"""The state_dict in a checkpoint: found among what else was saved, under the names that the networks have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.checkpoint_files import CheckpointFile, open_checkpoint
from NNMambaLib.models.imports.pickled_values import StoredTensor, shown
from NNMambaLib.models.limits import MAX_WEIGHTS_BYTES
from NNMambaLib.plain_files import check_plain
from NNMambaLib.runtime.units import format_bytes

# Under which names training scripts save weights, and what they put before each name.
_WRAPPERS = ("state_dict", "network_weights", "model", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_DEEPEST, _MOST_PREFIXES = 3, 4
_TYPES = {
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Double": torch.float64,
    "Long": torch.int64,
    "Int": torch.int32,
}


@dataclass(frozen=True)
class _SafeTensor:
    """A tensor of a .safetensors file, by its name there."""

    key: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class WeightsFile:
    """Weights whose shapes are known and whose numbers are not read yet.

    Attributes:
        path: of the file.
        tensors: by the names that the networks have; each has a `shape`.
        found: what was found, in sentences.
        beside: what else the checkpoint holds, by name.
    """

    path: Path
    tensors: Mapping[str, StoredTensor | _SafeTensor]
    found: tuple[str, ...]
    beside: Mapping[str, Any]
    _checkpoint: CheckpointFile | None

    def read(self) -> dict[str, torch.Tensor]:
        """Return the weights as the file has them, shared layers once, and the counts of BatchNorm that it lacks.

        Raises:
            ModelError: if they are damaged or not finite, or two copies of a shared layer differ.
        """
        state = self._read_all()
        for key, value in state.items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise ModelError(
                    f"The weights of {self.path} are not finite ({shown(key)} holds NaN or infinity): the training had "
                    "failed when they were saved; take an earlier checkpoint."
                )
        state = _without_copies(state, self.path)
        counts = [key.removesuffix("running_mean") + "num_batches_tracked" for key in state if _is_mean(key)]
        return {**{key: torch.tensor(0) for key in counts}, **state}

    def _read_all(self) -> dict[str, torch.Tensor]:
        if self._checkpoint is None:
            try:
                with safe_open(self.path, "pt") as file:
                    # Without a checkpoint, each tensor is one of the file's.
                    return {key: file.get_tensor(tensor.key) for key, tensor in self.tensors.items()}  # type: ignore[union-attr]
            except (SafetensorError, OSError) as error:
                raise ModelError(f"{self.path} is damaged ({error}): get it again.") from error
        stored = {key: tensor for key, tensor in self.tensors.items() if isinstance(tensor, StoredTensor)}
        storages = self._checkpoint.read_storages(tensor.storage for tensor in stored.values())
        return {
            key: torch.frombuffer(storages[tensor.storage.key], dtype=_TYPES[tensor.storage.kind]).as_strided(
                tensor.shape, tensor.strides, tensor.offset
            )
            for key, tensor in stored.items()
        }


def open_weights(path: str | Path) -> WeightsFile:
    """Find the weights in a file of PyTorch, a pickle or a .safetensors file.

    Raises:
        ModelError: if there are none, or in several places, or the file is not read (see `open_checkpoint`).
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        tensors, checkpoint = _safe_tensors(path), None
        found, beside = ["a .safetensors file"], {}
    else:
        checkpoint = open_checkpoint(path)
        tensors, place = _state_dict(checkpoint.content, path)
        found = [f"a {checkpoint.form}, its weights {f'under {place}' if place else 'by themselves'}"]
        content = checkpoint.content
        beside = {key: value for key, value in content.items() if isinstance(key, str)} if place else {}
    for key, tensor in tensors.items():
        if 0 in tensor.shape:
            raise ModelError(f"{path} holds the tensor {shown(key)} without numbers, as no network has: get it again.")
    tensors, prefixes = _without_prefixes(tensors)
    if prefixes:
        found.append(f"names that begin with {prefixes}, which is left out")
    tensors = {_first_of_shared(key, tensors): value for key, value in tensors.items()}
    if not any(key.endswith("num_batches_tracked") for key in tensors):
        found.append("no counts of batches in BatchNorm (num_batches_tracked), which inference does not use")
    return WeightsFile(path, tensors, tuple(found), beside, checkpoint)


def with_counts(tensors: Mapping[str, StoredTensor | _SafeTensor]) -> dict[str, StoredTensor | _SafeTensor]:
    """Return tensors with those counts of BatchNorm's batches that are missing, for their shapes."""
    counts = [key.removesuffix("running_mean") + "num_batches_tracked" for key in tensors if _is_mean(key)]
    return {**{key: _SafeTensor(key, ()) for key in counts}, **tensors}


def _is_mean(key: str) -> bool:
    return key.endswith(".running_mean")


def _safe_tensors(path: Path) -> dict[str, _SafeTensor]:
    size = check_plain(path, ModelError)
    if size > MAX_WEIGHTS_BYTES:
        raise ModelError(f"{path} has {format_bytes(size)}, more than {format_bytes(MAX_WEIGHTS_BYTES)}: give another.")
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: _SafeTensor(key, tuple(file.get_slice(key).get_shape())) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is no .safetensors file, or is damaged ({error}): get it again.") from error
    if not tensors:
        raise ModelError(f"{path} holds no weights: give the file of a trained network.")
    return tensors


def _state_dict(content: Any, path: Path) -> tuple[dict[str, StoredTensor], str]:
    """Return the weights in a checkpoint's content, and the names under which they lie: ``model.state_dict``."""
    place: list[str] = []
    for _ in range(_DEEPEST):
        if not isinstance(content, dict):
            raise ModelError(
                f"{path} holds a {type(content).__name__} and no weights: give the state_dict of a network."
            )
        if _holds_tensors(content):
            return {key: value for key, value in content.items() if isinstance(value, StoredTensor)}, ".".join(place)
        wrapped = [name for name in _WRAPPERS if isinstance(content.get(name), dict) and content[name]]
        if len(wrapped) > 1:
            raise ModelError(
                f"{path} holds weights under {' and '.join(wrapped)}: save those of one of them in a file of their own."
            )
        if not wrapped:
            _refuse_without_weights(content, place, path)
        place += wrapped
        content = content[wrapped[0]]
    raise ModelError(f"{path} holds weights deeper than under {'.'.join(place)}: save the state_dict by itself.")


def _holds_tensors(content: Any) -> bool:
    """Tell whether a dictionary is a state_dict: names of tensors, and at most a few other things beside."""
    if not isinstance(content, dict) or not content:
        return False
    tensors = sum(isinstance(key, str) and isinstance(value, StoredTensor) for key, value in content.items())
    return 2 * tensors > len(content)


def _refuse_without_weights(content: dict[Any, Any], place: list[str], path: Path) -> None:
    below = [str(key) for key, value in content.items() if _holds_tensors(value)]
    within = f" under {'.'.join(place)}" if place else ""
    if below:
        raise ModelError(
            f"The weights of {path} lie one level down{within}, under {shown(below[0])!r}: save "
            f"checkpoint[{shown(below[0])!r}] alone, with torch.save, and import that."
        )
    names = ", ".join(shown(str(key)) for key in list(content)[:3]) or "nothing"
    raise ModelError(f"{path} holds no weights{within}, only {names}: give the state_dict of a network.")


def _without_prefixes(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return tensors without what all their names begin with, and what that was."""
    stripped = ""
    for _ in range(_MOST_PREFIXES):
        prefix = next((p for p in _PREFIXES if all(key.startswith(p) for key in tensors)), None)
        if prefix is None or not tensors:
            break
        tensors, stripped = {key.removeprefix(prefix): value for key, value in tensors.items()}, stripped + prefix
    return dict(tensors), stripped


def _first_of_shared(key: str, tensors: Mapping[str, Any]) -> str:
    """Return a name as the first of two layers that share their weights has it, where only the second was saved."""
    first = key.replace(".2.mamba_layer.", ".1.mamba_layer.")
    return key if first in tensors else first


def _without_copies(state: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Return weights with each shared layer once, in the more precise of two forms that agree."""
    kept = dict(state)
    for key, value in state.items():
        first = key.replace(".2.mamba_layer.", ".1.mamba_layer.")
        if first == key or first not in state:
            continue
        precise, rounded = sorted((state[first], value), key=_precision, reverse=True)
        if precise.shape != rounded.shape or not torch.equal(precise.to(rounded.dtype), rounded):
            raise ModelError(
                f"{path} holds two different copies of one shared Mamba layer ({first} and {key}): they were not saved "
                "from an nnMamba network; use the original checkpoint."
            )
        del kept[key]
        kept[first] = precise
    return kept


def _precision(value: torch.Tensor) -> float:
    return -torch.finfo(value.dtype).eps if value.is_floating_point() else 0.0
